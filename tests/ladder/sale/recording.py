"""What was asked of a daemon and what it answered: each call with its times, and its commit numbers.

Times are monotonic seconds of this process; a call that was never answered has no end, and nobody knows what came of
it. Nothing is judged here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import trio

from tests.ladder.sale.stage import EVENT_ID
from ticketd.rehearsal.client import HttpClient, Unanswered, parse_origin

EVENT: Final = f"event-{EVENT_ID}"
TIMEOUT_SECONDS: Final = 30.0


class Number(msgspec.Struct, frozen=True):
    """A version of a partition; ``new`` if it was committed for this answer."""

    version: int
    new: bool


class Operation(msgspec.Struct, kw_only=True):
    """One call. ``kind`` is a word for what was wanted; ``key`` its Idempotency-Key."""

    number: int
    kind: str
    buyer: str
    method: str
    target: str
    body: dict[str, Any] | None
    key: str | None
    invoked: float
    completed: float | None = None
    status: int | None = None
    answer: bytes = b""
    replayed: bool = False
    versions: dict[str, Number] = {}

    @property
    def json(self) -> Any:
        """The answer's body."""
        return msgspec.json.decode(self.answer)

    @property
    def code(self) -> str:
        """The code of a refusal, or the empty string."""
        return "" if self.status is None or self.status < 400 else str(self.json["error"]["code"])

    @property
    def of_event(self) -> Number | None:
        """The commit number in the event's partition."""
        return self.versions.get(EVENT)

    def told(self) -> str:
        """For a person who looks for the fault."""
        number = self.of_event
        version = "" if number is None else f" @{number.version}{'!' if number.new else ''}"
        return f"#{self.number} {self.kind} of {self.buyer[:8]}: {self.status}{version} {self.answer[:300]!r}"


class Recorder:
    """Calls the daemon and keeps what came of it, in the order in which the calls were begun."""

    def __init__(self, url: str, api_key: str, max_connections: int) -> None:
        self.operations: list[Operation] = []
        self.is_over = False
        self._under_way = 0
        self._last_ended = trio.Event()
        self._api_key = api_key
        self._client = HttpClient(
            parse_origin(url), max_connections=max_connections, timeout_seconds=TIMEOUT_SECONDS
        )

    def turn_to(self, url: str, max_connections: int) -> None:
        """From now on another daemon is called, the next one upon the same folder."""
        self._client = HttpClient(
            parse_origin(url), max_connections=max_connections, timeout_seconds=TIMEOUT_SECONDS
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    def begin(
        self, kind: str, buyer: str, request: tuple[str, str, dict[str, Any] | None], key: str | None
    ) -> Operation:
        """Writes down what is about to be asked: ``(method, target, body)``."""
        method, target, body = request
        operation = Operation(
            number=len(self.operations),
            kind=kind,
            buyer=buyer,
            method=method,
            target=target,
            body=body,
            key=key,
            invoked=time.monotonic(),
        )
        self.operations.append(operation)
        return operation

    async def carry_out(self, operation: Operation, headers: Mapping[str, str]) -> None:
        """Sends the request; the operation's ``status`` stays None if it is not answered."""
        self._under_way += 1
        try:
            await self._exchange(operation, headers)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._last_ended.set()

    async def finish(self) -> None:
        """No more calls are begun; returns once those under way are answered."""
        self.is_over = True
        self._last_ended = trio.Event()
        if self._under_way:
            await self._last_ended.wait()

    async def _exchange(self, operation: Operation, headers: Mapping[str, str]) -> None:
        data = b"" if operation.body is None else msgspec.json.encode(operation.body)
        sent = [("X-API-Key", self._api_key), *headers.items()]
        if data:
            sent.append(("Content-Type", "application/json"))
        if operation.key is not None:
            sent.append(("Idempotency-Key", operation.key))
        try:
            async with self._client.slots:
                answer = await self._client.request(operation.method, operation.target, sent, data)
        except Unanswered:
            return
        operation.completed = time.monotonic()
        operation.status = answer.status
        operation.answer = answer.body
        operation.replayed = answer.headers.get("idempotency-replayed") == "true"
        operation.versions = read_versions(answer.headers.get("x-commit-version", ""))


def read_versions(header: str) -> dict[str, Number]:
    """The header X-Commit-Version, by partition."""
    members = (member.partition("=") for member in header.split(", ") if member)
    return {
        name: Number(int(value.removesuffix(";new")), value.endswith(";new")) for name, _, value in members
    }
