"""Reading whatever the daemon answers, and judging it: HTTP as it should be, no error of its own, errors in form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from uuid import UUID

import msgspec

from ticketd.errors import ErrorCode

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]*\r\n")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")
_CODES: Final = frozenset(ErrorCode.__members__)
_ERROR_FIELDS: Final = frozenset({"code", "message", "details", "request_id", "timestamp"})
_INNER: Final = re.compile(r"Traceback|File \"|\.py\b|site-packages|<class |object at 0x|/tmp/|ticketd\.lmdb")
"""What tells of the inside of the daemon, where an error must not."""


class Malformed(Exception):
    """What came is no answer in HTTP/1.1."""


class Answer(msgspec.Struct, frozen=True):
    """One answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def take_answer(data: bytes, method: bytes) -> tuple[Answer, bytes] | None:
    """The first final answer in ``data`` to a request of this method, and what follows; None if it has not all come.

    Raises Malformed.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        if len(data) > 65_536:
            raise Malformed("a head without an end")
        return None
    found = _STATUS_LINE.match(head + b"\r\n")
    if found is None:
        raise Malformed(f"a status line {head[:80]!r}")
    status = int(found[1])
    if status < 200 and status != 101:
        return take_answer(rest, method)
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        pair = _HEADER.fullmatch(line)
        if pair is None:
            raise Malformed(f"a header {line[:80]!r}")
        headers[pair[1].lower()] = pair[2]
    if method == b"HEAD" or status in {101, 204, 304}:
        return Answer(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":
        chunks = _take_chunks(rest)
        return None if chunks is None else (Answer(status, headers, chunks[0]), chunks[1])
    length = headers.get("content-length")
    if length is None or not length.isdigit():
        raise Malformed(f"an answer {status} without a length")
    if len(rest) < int(length):
        return None
    return Answer(status, headers, rest[: int(length)]), rest[int(length) :]


def _take_chunks(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        try:
            size = int(line, 16)
        except ValueError:
            raise Malformed(f"a chunk of {line[:40]!r}") from None
        if len(rest) < size + 2:
            return None
        body, closing, rest = body + rest[:size], rest[size : size + 2], rest[size + 2 :]
        if closing != b"\r\n":
            raise Malformed("a chunk without an end")
        if not size:
            return body, rest


def wrong_about(answer: Answer, *, bodiless: bool = False) -> str | None:
    """What is wrong about an answer, in a sentence; None if nothing is. ``bodiless``: the request was a HEAD."""
    if answer.status >= 500 and not (answer.status == 503 and answer.headers.get("retry-after")):
        return f"answered {answer.status}: {answer.body[:500]!r}"
    if answer.status < 400 or bodiless:
        return None
    try:
        body = json.loads(answer.body)
    except ValueError:
        return f"an error {answer.status} that is no JSON: {answer.body[:300]!r}"
    error = wrong_about_error(body)
    replayed = "idempotency-replayed" in answer.headers  # under the id of the first answer, byte for byte
    if error is None and not replayed and body["error"]["request_id"] != answer.headers.get("x-request-id"):
        return f"an error {answer.status} under two request ids: {answer.headers} {answer.body[:500]!r}"
    return error


def wrong_about_error(body: object) -> str | None:
    """What is wrong about the JSON of an error, or None."""
    match body:
        case {
            "error": {
                "code": str(code),
                "message": str(),
                "details": dict(),
                "request_id": str(given),
            } as error
        }:
            if set(error) != _ERROR_FIELDS or code not in _CODES:
                return f"an error that is not in form: {str(body)[:300]}"
            try:
                UUID(given)
            except ValueError:
                return f"an error whose request id is none: {given[:100]}"
        case _:
            return f"an error that is not in form: {str(body)[:300]}"
    inner = _INNER.search(json.dumps(body))
    return None if inner is None else f"an error that tells of the inside ({inner[0]}): {str(body)[:300]}"
