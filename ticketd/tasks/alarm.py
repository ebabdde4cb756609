"""How a background task waits: for a time, or for something to happen before it."""

from __future__ import annotations

import trio

from storage.clock import Clock


class Alarm:
    """One task waits, anybody wakes it. Ringing while nobody waits ends the next wait at once, so that nothing that
    happens between a look and the wait is missed."""

    __slots__ = ("_clock", "_is_rung", "_waiting")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._is_rung = False
        self._waiting: trio.CancelScope | None = None

    def ring(self) -> None:
        """Ends the wait, or the next one."""
        self._is_rung = True
        if self._waiting is not None:
            self._waiting.cancel()

    def reset(self) -> None:
        """Forgets the rings up to now, as one does who is about to look anyway."""
        self._is_rung = False

    async def wait_until_ms(self, at_ms: int | None) -> None:
        """Waits until the time (None: for ever) or until the alarm is rung. Other tasks have their turn meanwhile, also
        where there is nothing to wait for."""
        with trio.CancelScope() as self._waiting:
            if self._is_rung:
                self._waiting.cancel()
            if at_ms is None:
                await trio.sleep_forever()
            else:
                await self._clock.wait_until_ms(at_ms)
        self._waiting = None
        self._is_rung = False
