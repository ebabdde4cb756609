"""Whether checkouts find the payment gateway able to take them: counted where orders are placed, read by the pacing."""

from __future__ import annotations

import trio


class CheckoutHealth:
    """Counts since the start. A declined payment is a success: the gateway was there to decline it."""

    def __init__(self) -> None:
        self.failures = 0
        self.successes = 0
        self.rooms_slowed = 0
        """How many rooms are let in more slowly now, as the pacing last knew."""
        self._failed = trio.Event()

    def note_success(self) -> None:
        """A checkout got its answer from the gateway."""
        self.successes += 1

    def note_failure(self) -> None:
        """A checkout failed since the gateway was not reached, was too busy or did not answer in time."""
        self.failures += 1
        self._failed.set()
        self._failed = trio.Event()

    async def wait_failure(self, seen: int) -> None:
        """Waits until there are more failures than ``seen``."""
        while self.failures <= seen:
            await self._failed.wait()
