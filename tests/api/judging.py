"""Asking, and noting everything about the answers that is not as the table of endpoints says."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import trio
import trio.testing
from jsonschema import Draft202012Validator, FormatChecker
from structlog.testing import capture_logs

from handlers.answers import encode_json
from handlers.endpoint import Door, Endpoint
from handlers.openapi import build_document, error_codes
from handlers.routes import ENDPOINTS
from tests.api.samples import Sample, endpoints_with_samples
from tests.api.world import World, open_world
from tests.support.daemon import Answer
from ticketd.errors import ErrorCode

_FORMATS: Final = FormatChecker()
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ROUTED: Final = frozenset({ErrorCode.NOT_FOUND, ErrorCode.METHOD_NOT_ALLOWED})
"""These follow from a path or a method, and stand in no line."""


@_FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or str(UUID(value)) == value.lower()


def _whole_document() -> dict[str, Any]:
    """The API document over all endpoints, the operator's too."""
    lines = [dataclasses.replace(line, door=Door.BOTH) for line in ENDPOINTS]
    document: dict[str, Any] = json.loads(encode_json(build_document(lines, "http://tickets.test", "1")))
    return document


DOCUMENT: Final = _whole_document()


def _closed(schema: object) -> object:
    """The same schemas, under which an object has no other fields than those that are named."""
    if isinstance(schema, dict):
        closed = {name: _closed(value) for name, value in schema.items()}
        if "properties" in closed:
            closed.setdefault("additionalProperties", False)
        return closed
    return [_closed(one) for one in schema] if isinstance(schema, list) else schema


_SCHEMAS: Final[Any] = DOCUMENT["components"]["schemas"]
_ANSWERS: Final = {"components": {"schemas": _closed(_SCHEMAS)}}
_BODIES: Final = {"components": {"schemas": _SCHEMAS}}


def answer_problems(name: str, value: object) -> list[str]:
    """What of an answer is not as the schema ``name`` says."""
    schema = {**_ANSWERS, "$ref": f"#/components/schemas/{name}"}
    return [
        error.message for error in Draft202012Validator(schema, format_checker=_FORMATS).iter_errors(value)
    ]


def fits(schema: dict[str, Any], value: object) -> bool:
    """Whether a value is what a schema of a request's body asks for."""
    return Draft202012Validator({**_BODIES, **schema}, format_checker=_FORMATS).is_valid(value)


def fields_of(name: str) -> dict[str, dict[str, Any]]:
    """The schemas of the fields of a struct."""
    fields: dict[str, dict[str, Any]] = _SCHEMAS[name]["properties"]
    return fields


def required_fields(name: str) -> set[str]:
    return set(_SCHEMAS[name].get("required", ()))


def struct_of(schema: dict[str, Any]) -> str | None:
    """The name of the struct that a field holds, if it holds one, perhaps beside null."""
    for one in (schema, *schema.get("anyOf", ())):
        if "$ref" in one:
            return str(one["$ref"]).rpartition("/")[2]
    return None


class Judge:
    """Collects what is wrong, so that one run shows all of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked = 0
        self._faults: list[str] = []

    def samples(self, chosen: Callable[[Endpoint], bool] = lambda _: True) -> list[tuple[Endpoint, Sample]]:
        """The lines that are chosen, with their samples."""
        return [(line, sample) for line, sample in endpoints_with_samples(self.world) if chosen(line)]

    async def refused(
        self,
        line: Endpoint,
        what: str,
        asking: Awaitable[Answer],
        *codes: ErrorCode,
        undocumented: bool = False,
    ) -> Answer:
        """The call must be refused with one of the codes (without any: with a documented 4xx) and change nothing."""
        before = self.world.digest()
        answer = await asking
        self.asked += 1
        found = f"{answer.status} {answer.body[:150]!r}"
        if not 400 <= answer.status < 500:
            self.fault(line, what, f"answered {found}")
        else:
            self._check_form(line, what, answer)
            code = ErrorCode[answer.code]
            if codes and code not in codes:
                wanted = " or ".join(one.name for one in codes)
                self.fault(line, what, f"wanted {wanted}, got {found}")
            if not undocumented and code not in {*error_codes(line), *_ROUTED}:
                self.fault(line, what, f"{code.name} is not documented")
        if self.world.digest() != before:
            self.fault(line, what, "changed the store")
        return answer

    def _check_form(self, line: Endpoint, what: str, answer: Answer) -> None:
        problems = answer_problems("ErrorAnswer", answer.json)
        error = answer.json["error"]
        if answer.headers["content-type"] != "application/json":
            problems.append(f"the type is {answer.headers['content-type']}")
        if error["code"] not in ErrorCode.__members__ or ErrorCode[error["code"]].status != answer.status:
            problems.append(f"{error['code']} came with {answer.status}")
        if not isinstance(error["details"], dict):
            problems.append("details is no object")
        if error["request_id"] != answer.headers["x-request-id"]:
            problems.append("the request ids differ")
        if not _TIME.fullmatch(error["timestamp"]):
            problems.append(f"the time is {error['timestamp']}")
        if (answer.status == 401) is not ("www-authenticate" in answer.headers):
            problems.append("WWW-Authenticate belongs to 401")
        if len(answer.body) > 4096:
            problems.append("the error is long")
        if re.search(rb"Traceback|/work|\.py|0x[0-9a-f]{6}|lmdb|msgspec", answer.body):
            problems.append(f"the error tells of the inside: {answer.body[:200]!r}")
        for problem in problems:
            self.fault(line, what, problem)

    def fault(self, line: Endpoint, what: str, problem: str) -> None:
        """Notes something wrong."""
        self._faults.append(f"{line.method} {line.path}: {what}: {problem}")

    def pronounce(self) -> None:
        """Fails with all that was noted."""
        shown = "\n".join(self._faults[:60])
        assert not self._faults, f"{len(self._faults)} of {self.asked} answers are wrong:\n{shown}"


def judged(test: Callable[[Judge], Awaitable[None]]) -> Callable[[Path], None]:
    """Makes a test out of what asks a judge, who pronounces at the end. It has a world of its own, in which time stands
    still once it is furnished; no error may be logged in it."""

    def run(tmp_path: Path) -> None:
        clock = trio.testing.MockClock()
        with capture_logs() as lines:
            judge = trio.run(ask, tmp_path, clock, clock=clock)
        judge.pronounce()
        assert judge.asked
        assert not [line for line in lines if line["log_level"] in {"error", "critical"}]

    async def ask(data: Path, clock: trio.testing.MockClock) -> Judge:
        async with open_world(data, clock) as world:
            judge = Judge(world)
            await test(judge)
        return judge

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    return run
