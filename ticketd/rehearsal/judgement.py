"""What was wrong: each kind of fault that a rehearsal must not show, found in what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from ticketd.rehearsal.fairness import StoreFacts
from ticketd.rehearsal.measurements import MAX_NOTED
from ticketd.rehearsal.play import Played

ASKED_TO_COME_AGAIN: Final = frozenset({"QUEUE_FULL", "OVERLOADED", "PAYMENT_UNAVAILABLE"})
"""The 5xx that the daemon gives on purpose: it is full, and said so."""
EXPECTED_REFUSALS: Final = frozenset(
    {
        "ACCESS_EXPIRED",
        "NO_ADJACENT_SEATS",
        "PAYMENT_DECLINED",
        "QUEUE_ENTRY_EXPIRED",
        "RATE_LIMITED",
        "RESERVATION_EXPIRED",
        "SALE_ENDED",
        "SEATS_TAKEN",
        "SEATS_UNAVAILABLE",
    }
)
"""What a buyer who does everything right can be told in an on-sale."""


class Faults(Struct, frozen=True, kw_only=True):
    """What was wrong, by kind, in sentences; at most a few of one kind are written out."""

    oversold: list[str]
    overtaken: list[str]
    server_errors: list[str]
    unanswered: list[str]
    unexpected: list[str]
    store: list[str]

    @property
    def any(self) -> bool:
        """Whether anything was wrong."""
        return any(getattr(self, name) for name in self.__struct_fields__)


class StoreCheck(Struct, frozen=True, kw_only=True):
    """What a scratch store says, and the problems that ``ticketd verify`` found in it.

    ``facts`` is None for a store that could not be read, which is a problem.
    """

    facts: StoreFacts | None
    problems: list[str]


def judge(played: Played, store: StoreCheck | None) -> Faults:
    """Finds the faults. ``store`` is None for somebody's daemon."""
    notes = played.notes
    overtaken = list(notes.grown)
    in_store: list[str] = []
    if store is not None:
        in_store += store.problems
    if store is not None and store.facts is not None:
        overtaken += store.facts.overtaken
        if store.facts.seats_sold < notes.seats_bought:
            in_store.append(
                f"buyers were told of {notes.seats_bought} seats that are theirs, "
                f"the store has {store.facts.seats_sold} sold"
            )
    return Faults(
        oversold=_capped(_oversold(played)),
        overtaken=_capped(overtaken, more=notes.grown_count - len(notes.grown)),
        server_errors=_of(played, lambda status, code: status >= 500 and code not in ASKED_TO_COME_AGAIN),
        unanswered=_of(played, lambda status, _: status == 0),
        unexpected=_of(played, lambda status, code: 0 < status < 500 and code not in EXPECTED_REFUSALS),
        store=_capped(in_store),
    )


def _oversold(played: Played) -> list[str]:
    notes = played.notes
    owners: Counter[str] = Counter()
    for purchase in notes.purchases:
        owners.update(purchase.seat_ids)
    found = [f"seat {seat} was sold {times} times" for seat, times in owners.items() if times > 1]
    found += [
        f"barcode {barcode} is on {times} tickets" for barcode, times in notes.barcodes.items() if times > 1
    ]
    if notes.seats_bought > played.before.total_capacity:
        found.append(f"{notes.seats_bought} seats were sold of {played.before.total_capacity}")
    return found


def _of(played: Played, wanted: Callable[[int, str], bool]) -> list[str]:
    return [
        f"{endpoint}: {code if status == 0 else f'{status} {code}'}, {count} times"
        for (endpoint, status, code), count in sorted(played.notes.codes.items())
        if wanted(status, code)
    ]


def _capped(sentences: list[str], *, more: int = 0) -> list[str]:
    more += max(0, len(sentences) - MAX_NOTED)
    return [*sentences[:MAX_NOTED], *([f"and {more} more"] if more else [])]
