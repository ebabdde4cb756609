"""Every endpoint × every wrong path, query and method: the right refusal, as documented, and the store unchanged."""

from __future__ import annotations

from typing import Any

import msgspec

from handlers.endpoint import Door, Endpoint
from handlers.routes import ENDPOINTS
from tests.api.judging import (
    Judge,
    fits,
    judged,
)
from tests.api.sorting import UNKNOWN, has_key, with_key
from ticketd.errors import ErrorCode


@judged
async def test_ids_that_are_none(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: "{" in line.path):
        for name, good in sample.path.items():
            strange = [
                "x",
                "0" * 32,
                f"{good}0",
                f"{{{good}}}",
                f"{good}\x00",
                f" {good}",
                f"{good}\n",
                "é",
                "%2e",
            ]
            if line.name != "put_operator_event":
                strange.append(UNKNOWN)
            for value in strange:
                call = sample.client.call(
                    line.method,
                    sample.target(line, **{name: value}),
                    sample.body,
                    raw=sample.raw,
                    headers=sample.headers,
                )
                answer = await judge.refused(line, f"{name} = {value!r}", call)
                if answer.status != 404:
                    judge.fault(line, f"{name} = {value!r}", f"wanted 404, got {answer.status}")


@judged
async def test_an_id_in_capitals_is_the_same(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.method == "GET" and "_id}" in line.path):
        judge.asked += 1
        path = {name: value.upper() for name, value in sample.path.items() if name.endswith("_id")}
        answer = await sample.client.get(sample.target(line, **path))
        if answer.status != 200:
            judge.fault(line, "an id in capitals", f"{answer.status} {answer.body[:99]!r}")


@judged
async def test_queries(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: has_key(line) and line.query is not None):
        target = sample.target(line).partition("?")[0]
        for raw in ("a=1&a=2", "a=%ff", "a=%00", "&".join(f"f{n}=1" for n in range(60))):
            call = sample.client.call(line.method, f"{target}?{raw}")
            await judge.refused(line, f"the query {raw[:20]}", call, ErrorCode.INVALID_REQUEST)
        assert line.query is not None
        for name, schema in fields_of_query(line).items():
            for value in ("", "x", "-1", "0", "1.5", "9" * 30, "9" * 5000, "true", "null", "[]", "é"):
                if fits(schema, value) or fits(schema, number(value)):
                    continue
                call = sample.client.call(line.method, f"{target}?{name}={value}")
                # A buyer's event has a code of its own, however it is wrong.
                of_event = name == "event_id" and ErrorCode.INVALID_EVENT_ID in line.errors
                code = ErrorCode.INVALID_EVENT_ID if of_event else ErrorCode.INVALID_REQUEST
                await judge.refused(line, f"{name}={value[:20]}", call, code)


def fields_of_query(line: Endpoint) -> dict[str, dict[str, Any]]:
    """The query's fields of which the document says more than that they are texts."""
    assert line.query is not None
    (_,), components = msgspec.json.schema_components([line.query])
    found: dict[str, dict[str, Any]] = components[line.query.__name__]["properties"]
    return found


def number(text: str) -> object:
    """A number of a query, or the text itself."""
    return int(text) if text.lstrip("-").isdecimal() and len(text) < 100 else text


@judged
async def test_methods(judge: Judge) -> None:
    by_path: dict[tuple[str, Door], set[str]] = {}
    for line in ENDPOINTS:
        by_path.setdefault((line.path, line.door), set()).add(line.method)
    for line, sample in judge.samples():
        methods = by_path[line.path, line.door]
        allowed = sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set()))
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "get"):
            if method in allowed:
                continue
            for client in (sample.client, with_key(sample.client, None)):
                answer = await judge.refused(
                    line, method, client.call(method, sample.target(line)), ErrorCode.METHOD_NOT_ALLOWED
                )
                if answer.headers["allow"] != ", ".join(allowed):
                    judge.fault(line, method, f"Allow is {answer.headers['allow']}")
        options = await sample.client.call("OPTIONS", sample.target(line))
        if (options.status, options.headers["allow"]) != (204, ", ".join(allowed)):
            judge.fault(line, "OPTIONS", f"{options.status} {options.headers}")


@judged
async def test_head(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.method == "GET" and line.name != "get_metrics"):
        judge.asked += 1
        got = await sample.client.get(sample.target(line))
        head = await sample.client.call("HEAD", sample.target(line))
        kept = {"etag", "content-type", "cache-control", "vary"}
        both = [
            (one.status, {name: value for name, value in one.headers.items() if name in kept})
            for one in (got, head)
        ]
        if both[0] != both[1]:
            judge.fault(line, "HEAD", f"{both[0]} {both[1]}")
