"""Every endpoint called rightly: it succeeds as documented, and again without doing anything again."""

from __future__ import annotations

import msgspec
import trio.testing

from handlers.endpoint import Endpoint
from handlers.routes import ENDPOINTS
from tests.api.judging import (
    Judge,
    answer_problems,
    judged,
)
from tests.api.samples import SAMPLES, Sample
from ticketd.errors import ErrorCode

KEY = {"idempotency-key": "the-first-key"}


def test_every_endpoint_has_a_sample() -> None:
    assert {line.name for line in ENDPOINTS} == set(SAMPLES)


@judged
async def test_what_is_right_is_answered_as_documented(judge: Judge) -> None:
    for line, sample in judge.samples():
        judge.asked += 1
        before = judge.world.digest()
        answer = await sample.send(line)
        if answer.status != line.status:
            judge.fault(line, "the sample", f"{answer.status} {answer.body[:300]!r}")
            continue
        if line.method == "GET" and judge.world.digest() != before:
            judge.fault(line, "the sample", "a GET changed the store")
        media = "" if line.status == 204 else line.media_type
        if line.path != "/docs/{asset}" and answer.headers.get("content-type", "") != media:
            judge.fault(line, "the sample", f"the type is {answer.headers.get('content-type')}")
        if line.answer is not None:
            for problem in answer_problems(line.answer.__name__, answer.json):
                judge.fault(line, "the sample", problem)
            if isinstance(decode_strictly(line, answer.body), str):
                judge.fault(line, "the sample", "is not the struct of the table")


def decode_strictly(line: Endpoint, body: bytes) -> object:
    try:
        return msgspec.json.decode(body, type=line.answer)
    except msgspec.ValidationError as error:
        return str(error)


@judged
async def test_what_is_repeated_is_answered_the_same(judge: Judge) -> None:
    for line, sample in judge.samples(lambda line: line.idempotent):
        judge.asked += 1
        keyed = Sample(**{**vars(sample), "headers": {**(sample.headers or {}), **KEY}})
        first = await keyed.send(line)
        await trio.testing.wait_all_tasks_blocked()  # What follows in the background is no part of this.
        between = judge.world.digest()
        again = await keyed.send(line)
        if first.status != line.status or (again.status, again.body) != (first.status, first.body):
            judge.fault(
                line, "a repetition", f"{first.status} {first.body[:99]!r} {again.status} {again.body[:99]!r}"
            )
        if again.headers.get("idempotency-replayed") != "true":
            judge.fault(line, "a repetition", "does not say that it is one")
        if again.headers.get("location") != first.headers.get("location"):
            judge.fault(line, "a repetition", "has another Location")
        if judge.world.digest() != between:
            judge.fault(line, "a repetition", "changed the store")
        for key in ("short", "x" * 129, "with-é-in-it"):
            bad = Sample(**{**vars(sample), "headers": {**(sample.headers or {}), "idempotency-key": key}})
            await judge.refused(line, f"the key {key[:12]}", bad.send(line), ErrorCode.INVALID_REQUEST)
        if line.body is not None:
            other = keyed.client.call(
                line.method, keyed.target(line), {**keyed.body, "x": 1}, headers=keyed.headers
            )
            await judge.refused(line, "another body", other, ErrorCode.IDEMPOTENCY_KEY_REUSED)
