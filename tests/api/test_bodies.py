"""Every endpoint × every wrong body: the right refusal, in the one form, as documented, and the store unchanged."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from handlers.endpoint import BodyEncoding
from tests.api.judging import (
    Judge,
    fields_of,
    fits,
    judged,
    required_fields,
    struct_of,
)
from tests.api.sorting import JSON, UNKNOWN, takes_a_body
from ticketd.errors import ErrorCode

LIMIT = 65_536


STRANGE: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "é" * 300, "\n", "x\n",
    [], {}, [None], ["x"], [["x"]], {"x": 1}, [UNKNOWN] * 2,
)  # fmt: skip


def spoiled(body: dict[str, Any], struct: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The body with one thing wrong, by what is wrong; fields of objects in it too."""
    for name in sorted(required_fields(struct)):
        yield f"without {name}", {key: value for key, value in body.items() if key != name}
    yield "with another field", {**body, "another": 1}
    for name, schema in fields_of(struct).items():
        for value in STRANGE:
            if not fits(schema, value):
                yield f"{name} = {value!r:.30}", {**body, name: value}
        yield f"{name} with NUL", {**body, name: "a\x00b"}
        yield f"{name} with NUL in a list", {**body, name: ["a\x00b"]}
        inner = struct_of(schema)
        if inner is not None and isinstance(body.get(name), dict):
            for what, changed in spoiled(copy.deepcopy(body[name]), inner):
                yield f"{name}: {what}", {**body, name: changed}


@judged
async def test_bodies_field_by_field(judge: Judge) -> None:
    for line, sample in judge.samples(
        lambda line: line.encoding is BodyEncoding.JSON and line.body is not None
    ):
        assert line.body is not None
        for what, body in spoiled(sample.body, line.body.__name__):
            answer = await judge.refused(
                line, what, sample.client.call(line.method, sample.target(line), body, headers=sample.headers)
            )
            if answer.status != 400:
                judge.fault(line, what, f"wanted 400, got {answer.status} {answer.code}")


@judged
async def test_bodies_that_are_none(judge: Judge) -> None:
    for line, sample in judge.samples(takes_a_body):
        good = sample.raw or json.dumps(sample.body or {}).encode()
        first = json.dumps(next(iter(sample.body.items()), ("x", 1)) if sample.body else ("x", 1)).encode()
        name, value = (part.strip() for part in first.strip(b"[]").split(b",", 1))
        wrong = {
            "nothing at all": b" ",
            "half of it": good[:-1],
            "more than it": good + b"x",
            "twice": good + good,
            "a list": b"[]",
            "null": b"null",
            "a text": b'"x"',
            "a number": b"1",
            "a list of it": b"[" + good + b"]",
            "bad UTF-8": b'{"\xff": 1}',
            "UTF-16": good.decode().encode("utf-16"),
            "a byte order mark": b"\xef\xbb\xbf" + good,
            "NaN": b'{"x": NaN}',
            "half a surrogate pair": b'{"x": "\\ud800"}',
            "deep lists": b"[" * 30_000,
            "deep objects": b'{"x":' * 10_000,
            "a field twice": b"{" + name + b": " + value + b", " + good.lstrip(b"{ "),
        }
        headers = JSON
        if line.encoding is BodyEncoding.FORM:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            wrong = {"nothing": b" ", "half": b"outcome=", "twice": good + b"&" + good, "bad": b"outcome=%ff"}
        for what, raw in wrong.items():
            if what == "a field twice" and not sample.body:
                continue
            if what == "a byte order mark" and line.encoding is BodyEncoding.RAW:
                continue  # Event files come from editors.
            call = sample.client.call(line.method, sample.target(line), raw=raw, headers=headers)
            await judge.refused(line, what, call, ErrorCode.INVALID_REQUEST)


@judged
async def test_media_types(judge: Judge) -> None:
    for line, sample in judge.samples(takes_a_body):
        good = sample.raw or json.dumps(sample.body or {}).encode()
        for media in (
            "",
            "text/plain",
            "application/xml",
            "application/json; charset=latin-1",
            "multipart/form-data",
        ):
            call = sample.client.call(
                line.method, sample.target(line), raw=good, headers={"content-type": media}
            )
            await judge.refused(line, f"the type {media}", call, ErrorCode.UNSUPPORTED_MEDIA_TYPE)


@judged
async def test_the_size_of_a_body(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: takes_a_body(line) and not line.large):
        headers = sample.headers or JSON
        for size, code in ((LIMIT, ErrorCode.INVALID_REQUEST), (LIMIT + 1, ErrorCode.BODY_TOO_LARGE)):
            raw = b"{".ljust(size)
            call = sample.client.call(line.method, sample.target(line), raw=raw, headers=headers)
            await judge.refused(line, f"{size} bytes", call, code)
