"""Calls of the API as a well-behaved client makes them: measured, and repeated when the daemon asks for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Struct

from ticketd.rehearsal.answers import ErrorAnswer
from ticketd.rehearsal.client import Answer, HttpClient, Unanswered
from ticketd.rehearsal.measurements import Measurements

T = TypeVar("T")

MAX_TRIES: Final = 20
"""So often a call is repeated when the daemon asks to come again later."""
_RETRY_AFTER_MOST: Final = 600.0
_COME_AGAIN: Final = frozenset({429, 503})


class Call(Struct, frozen=True, kw_only=True):
    """One call. ``path`` is as the API document writes it, ``target`` as it is sent."""

    method: str
    path: str
    target: str | None = None
    token: str | None = None
    device: str | None = None
    body: object = None
    idempotency_key: str | None = None

    @property
    def endpoint(self) -> str:
        """What the call is counted under."""
        return f"{self.method} {self.path}"


class Refused(Exception):
    """The daemon refused a call, or gave no answer (status 0)."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code


class Api:
    """The API for one storefront key. ``requests_left`` bounds what is sent; ``run_out`` is called when it is spent."""

    def __init__(
        self,
        client: HttpClient,
        api_key: str,
        notes: Measurements,
        requests_left: int,
        run_out: Callable[[], None],
    ) -> None:
        self.notes = notes
        self.client = client
        self.api_key = api_key
        self._requests_left = requests_left
        self._run_out = run_out

    async def ask(self, call: Call, kind: type[T]) -> T:
        """The answer, read. Raises Refused, also for an answer that cannot be read (code ANSWER_UNREADABLE)."""
        answer = await self.send(call)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.notes.codes[call.endpoint, answer.status, "ANSWER_UNREADABLE"] += 1
            raise Refused(answer.status, "ANSWER_UNREADABLE") from None

    async def send(self, call: Call) -> Answer:
        """The answer, if it is a success. Comes again when told to. Raises Refused."""
        for tries in range(1, MAX_TRIES + 1):
            answer = await self._send_once(call)
            if answer.status < 400:
                return answer
            code = _code_of(answer)
            if answer.status not in _COME_AGAIN or tries == MAX_TRIES:
                raise Refused(answer.status, code)
            await trio.sleep(_retry_after_s(answer))
        raise AssertionError("the last try raises or answers")

    async def _send_once(self, call: Call) -> Answer:
        if self._requests_left <= 0:
            self._run_out()
            await trio.sleep_forever()
        self._requests_left -= 1
        body = b"" if call.body is None else msgspec.json.encode(call.body)
        asked_at = trio.current_time()
        async with self.client.slots:
            began = trio.current_time()
            self.notes.note_slot_wait(began - asked_at)
            try:
                answer = await self.client.request(
                    call.method, call.target or call.path, self._headers(call), body
                )
            except Unanswered as failure:
                self.notes.note_unanswered(call.endpoint, failure.reason)
                raise Refused(0, failure.reason) from None
            seconds = trio.current_time() - began
        code = "" if answer.status < 400 else _code_of(answer)
        self.notes.note_answer(call.endpoint, seconds, answer.status, code)
        return answer

    def _headers(self, call: Call) -> list[tuple[str, str]]:
        headers = [("X-API-Key", self.api_key), ("Accept-Encoding", "gzip")]
        if call.body is not None:
            headers.append(("Content-Type", "application/json"))
        if call.token is not None:
            headers.append(("Authorization", f"Bearer {call.token}"))
        if call.device is not None:
            headers.append(("X-Device-ID", call.device))
        if call.idempotency_key is not None:
            headers.append(("Idempotency-Key", call.idempotency_key))
        return headers


def _code_of(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=ErrorAnswer).error.code
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "NO_ERROR_FORM"


def _retry_after_s(answer: Answer) -> float:
    """What the daemon asks for; a second if it does not say."""
    text = answer.headers.get("retry-after", "1")
    return min(float(text), _RETRY_AFTER_MOST) if text.isdecimal() else 1.0
