"""The same seed makes the same changes; and what is judged wrong about an answer, and what is not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from tests.ladder.fuzz.answers import Answer, Malformed, take_answer, wrong_about
from tests.ladder.fuzz.mutation import change_bytes, change_document, change_head, in_chunks, in_pieces

REQUEST = b'POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{"a": [1, "b"]}'
DOCUMENT = {"name": "a", "rows": [{"row": "A", "first": 1}, {"row": "B", "first": 2}], "tax": None}


@pytest.mark.parametrize("change", [change_bytes, change_head, in_chunks])
def test_a_seed_is_a_change_of_bytes(change: Callable[[random.Random, bytes], bytes]) -> None:
    made = [change(random.Random(seed), REQUEST) for seed in range(300)]
    assert made == [change(random.Random(seed), REQUEST) for seed in range(300)]
    assert len(set(made)) > 100


def test_a_seed_is_a_change_of_a_document_and_the_document_stays() -> None:
    before = json.dumps(DOCUMENT)
    made = [json.dumps(change_document(random.Random(seed), DOCUMENT)) for seed in range(300)]
    assert made == [json.dumps(change_document(random.Random(seed), DOCUMENT)) for seed in range(300)]
    assert len(set(made)) > 200
    assert json.dumps(DOCUMENT) == before


def test_pieces_are_the_whole() -> None:
    for seed in range(100):
        assert b"".join(in_pieces(random.Random(seed), REQUEST)) == REQUEST


def error(status: int = 404, headers: dict[str, str] | None = None, **changes: object) -> Answer:
    """An error that is right but for the changes."""
    given = "01a224a9-73da-76ee-8989-af860ed4d292"
    body = {
        "code": "NOT_FOUND",
        "message": "m",
        "details": {},
        "request_id": given,
        "timestamp": "t",
        **changes,
    }
    known = {name: value for name, value in body.items() if value is not None}
    return Answer(status, {"x-request-id": given, **(headers or {})}, json.dumps({"error": known}).encode())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(500, {}, b""), "answered 500"),
        (error(500), "answered 500"),
        (error(502), "answered 502"),
        (error(503), "answered 503"),
        (Answer(404, {}, b"<html>"), "no JSON"),
        (Answer(404, {}, b"[]"), "not in form"),
        (error(code="NO_SUCH_CODE"), "not in form"),
        (error(timestamp=None), "not in form"),
        (error(details=None), "not in form"),
        (error(more=1), "not in form"),
        (error(request_id="x"), "request id is none"),
        (error(headers={"x-request-id": "another"}), "two request ids"),
        (error(message='File "handlers/serve.py", line 3'), "tells of the inside"),
        (error(details={"why": "Traceback"}), "tells of the inside"),
    ],
)
def test_what_is_wrong_about_an_answer_is_told(answer: Answer, told: str) -> None:
    assert told in (wrong_about(answer) or "")


@pytest.mark.parametrize(
    "answer", [Answer(200, {}, b"x"), error(), error(503, {"retry-after": "1"}), error(400)], ids=str
)
def test_what_is_right_is_let_be(answer: Answer) -> None:
    assert wrong_about(answer) is None


def test_answers_are_taken_one_after_the_other() -> None:
    two = b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204 \r\n\r\nrest"
    first = take_answer(two, b"GET")
    assert first is not None
    assert (first[0].status, first[0].body) == (200, b"hi")
    second = take_answer(first[1], b"GET")
    assert second is not None
    assert (second[0].status, second[1]) == (204, b"rest")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nmore"
    third = take_answer(chunked, b"GET")
    assert third is not None
    assert (third[0].body, third[1]) == (b"hi", b"more")
    for end in range(len(chunked) - 4):
        assert take_answer(chunked[:end], b"GET") is None
    assert take_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"HEAD") is not None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi..",
    ],
)
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(Malformed):
        take_answer(data, b"GET")
