"""Work that goes on although the one who asked for it may be gone: a client that hangs up takes no charge back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog
import trio

from storage.engine import Rejected
from ticketd.errors import ErrorCode, Refusal

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Job(Generic[T]):
    """One piece of work: ``run`` does it in a nursery that outlives its callers, ``wait_result`` waits for it."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._ended = trio.Event()
        self._result: tuple[T] | None = None
        self._failure: Exception | None = None
        self._is_awaited = True

    async def run(self) -> None:
        """Does the work. What it raises is for the waiter; if that one is gone, it is logged."""
        try:
            self._result = (await self._work(),)
        except Exception as failure:
            self._failure = failure
            if not self._is_awaited and not isinstance(failure, Rejected):
                _log.exception("work that nobody waits for any more has failed")
        finally:
            self._ended.set()

    async def wait_result(self) -> T:
        """The result. Raises what the work raised; OVERLOADED if it was cut short, since the daemon ends."""
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._is_awaited = False
            raise
        if self._failure is not None:
            raise self._failure
        if self._result is None:
            raise Refusal(ErrorCode.OVERLOADED)
        return self._result[0]
