"""Waiting for a time, or for something to happen before it."""

from __future__ import annotations

import trio

from storage.clock import Clock


class Alarm:
    """One task waits, anybody wakes it. Waking while nobody waits ends the next wait at once."""

    __slots__ = ("_clock", "_is_rung", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_rung = False
        self._waiting: trio.CancelScope | None = None

    def ring(self) -> None:
        """Ends the wait."""
        self._is_rung = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def wait_until_ms(self, at_ms: int | None) -> None:
        """Waits until the time (None: for ever) or until the alarm is rung."""
        if not self._is_rung:
            with trio.CancelScope() as self._waiting:
                if at_ms is None:
                    await trio.sleep_forever()
                else:
                    await self._clock.wait_until_ms(at_ms)
            self._waiting = None
        self._is_rung = False
