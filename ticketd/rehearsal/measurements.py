"""What is measured while the crowd plays: requests with their latencies, errors by code, visits, what was bought.

It only takes notes; whether they are good or bad is said by ``ticketd.rehearsal.judgement``. Times are seconds
since the start of the rehearsal, by a clock that is handed in.
"""

from __future__ import annotations

import enum
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from msgspec import Struct

BUCKET_SECONDS: Final = 10
MAX_NOTED: Final = 20
"""So many faults of one kind are written out; the others are counted."""


class Outcome(enum.StrEnum):
    """How a visit ended."""

    BOUGHT = "bought"
    LEFT = "left"
    NEVER_CLAIMED = "never claimed"
    LET_LAPSE = "let the hold lapse"
    SOLD_OUT = "found nothing left"
    PLACE_ENDED = "lost the place"
    FAILED = "failed"
    UNFINISHED = "unfinished"


SHOPPED: Final = frozenset({Outcome.BOUGHT, Outcome.LET_LAPSE})


class Purchase(Struct, frozen=True, kw_only=True):
    """An order that a buyer was told is CONFIRMED, and its seats."""

    order_id: str
    seat_ids: tuple[str, ...]


class Measurements:
    """The notes of one rehearsal. ``now`` gives seconds from a fixed point; the start is when this is made."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self.latencies: dict[str, array[float]] = defaultdict(lambda: array("d"))
        """Seconds, by endpoint."""
        self.by_bucket: dict[int, array[float]] = defaultdict(lambda: array("d"))
        """Seconds, by the ten seconds in which the answer came."""
        self.codes: Counter[tuple[str, int, str]] = Counter()
        """Refusals and unanswered requests, by endpoint, status (0: no answer) and code."""
        self.outcomes: Counter[Outcome] = Counter()
        self.let_in_by_bucket: Counter[int] = Counter()
        self.done_by_bucket: Counter[int] = Counter()
        self.purchases: list[Purchase] = []
        self.barcodes: Counter[str] = Counter()
        """How often each barcode is on a ticket."""
        self.grown: list[str] = []
        self.grown_count = 0
        self.odd: Counter[str] = Counter()
        """What is no fault by itself and should be looked at, as a sentence."""
        self.requests = 0
        self.joined = 0
        self.waiting = 0
        self.shopping = 0
        self.messages = 0
        self.slot_wait_max_s = 0.0
        self.late_s: array[float] = array("d")
        """How late the rehearsal itself was each time it looked."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def seats_bought(self) -> int:
        """All seats of all orders that buyers were told are theirs."""
        return sum(len(purchase.seat_ids) for purchase in self.purchases)

    @property
    def errors(self) -> int:
        """Answers of 5xx, and requests without an answer."""
        return sum(count for (_, status, _), count in self.codes.items() if status == 0 or status >= 500)

    def note_answer(self, endpoint: str, seconds: float, status: int, code: str) -> None:
        """One request and its answer; ``code`` is that of a refusal, else empty."""
        self.requests += 1
        self.latencies[endpoint].append(seconds)
        self.by_bucket[self._bucket()].append(seconds)
        if code:
            self.codes[endpoint, status, code] += 1

    def note_unanswered(self, endpoint: str, reason: str) -> None:
        """One request that got no answer."""
        self.requests += 1
        self.codes[endpoint, 0, reason] += 1

    def note_slot_wait(self, seconds: float) -> None:
        """A buyer had to wait for one of the rehearsal's own connections."""
        self.slot_wait_max_s = max(self.slot_wait_max_s, seconds)

    def note_let_in(self) -> None:
        """A buyer has learnt that it is their turn."""
        self.let_in_by_bucket[self._bucket()] += 1

    def note_outcome(self, outcome: Outcome) -> None:
        """A visit ended."""
        self.outcomes[outcome] += 1
        if outcome in SHOPPED:
            self.done_by_bucket[self._bucket()] += 1

    def note_grown(self, buyer: int, before: int, after: int) -> None:
        """A buyer's position in line went back."""
        self.grown_count += 1
        if len(self.grown) < MAX_NOTED:
            self.grown.append(f"buyer {buyer} stood at {before}, and then at {after}")

    def _bucket(self) -> int:
        return int(self.elapsed_s // BUCKET_SECONDS)


def percentile(ordered: list[float], percent: float) -> float:
    """The least value that at least ``percent`` of the values do not exceed; 0 of none. ``ordered`` ascends."""
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
