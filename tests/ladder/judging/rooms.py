"""One room's history: nobody overtakes, admissions within rate and places, one live place for each buyer.

It is told every move that was committed and knows the settings of the moment; it shares no code with the domain.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from storage.schema.events import EntryMoved
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.records import SaleRecord
from storage.schema.states import ENTRY_MOVES, LIVE_ENTRY_STATES, EntryState
from storage.verify.problem import Problem

_WINDOW_MS: Final = 60_000
_SHOPS: Final = frozenset({EntryState.READY, EntryState.SHOPPING})


class RoomJudge:
    """A room from its first place on. ``sale`` is what is in force now, None while nobody has said."""

    def __init__(self, event_id: EventId) -> None:
        self.sale: SaleRecord | None = None
        self._where = f"event {event_id}, room"
        self._states: dict[EntryId, EntryState] = {}
        self._seqs: dict[EntryId, int] = {}
        self._live: dict[UserId, EntryId] = {}
        self._due: dict[EntryId, int] = {}
        self._front: list[tuple[int, EntryId]] = []
        self._behind: list[tuple[int, EntryId]] = []
        self._lobby: dict[EntryId, None] = {}
        self._drawn: deque[EntryId] | None = None
        self._lately: deque[int] = deque()

    @property
    def active(self) -> int:
        """How many were let in and have not ended."""
        return len(self._due)

    def position(self, entry: EntryId) -> int | None:
        """The place in line of one who waits, 1 for the next; None for all others, and while the lobby waits to be
        drawn."""
        if self._lobby and self._drawn is None:
            return None
        drawn = [one for one in self._drawn or () if self._states.get(one) is EntryState.LOBBY]
        line = [*self._waiting(self._front), *drawn, *self._waiting(self._behind)]
        return line.index(entry) + 1 if entry in line else None

    def _waiting(self, line: list[tuple[int, EntryId]]) -> list[EntryId]:
        return [entry for _, entry in sorted(line) if self._states[entry] is EntryState.QUEUED]

    def draw(self, order: Sequence[EntryId]) -> Iterator[Problem]:
        """The lobby was drawn in this order, those among them who have left since included."""
        if self._drawn is not None:
            yield self._problem("drawn-once", "the lobby was drawn twice")
        if missing := [str(entry) for entry in self._lobby if entry not in set(order)]:
            yield self._problem("lobby-is-drawn", f"not drawn: {', '.join(sorted(missing))}")
        self._drawn = deque(order)

    def credit(self, credit_ms: int) -> None:
        """Windows end by so much later, and what was admitted lately counts by so much longer."""
        self._due = {entry: due_ms + credit_ms for entry, due_ms in self._due.items()}
        self._lately = deque(at_ms + credit_ms for at_ms in self._lately)

    def move(self, at_ms: int, event: EntryMoved) -> Iterator[Problem]:
        """One place was taken, or went on to another state."""
        entry, before = event.entry_id, self._states.get(event.entry_id)
        if event.before is not before:
            yield self._problem("entry-moves-on", f"{entry} was {before}, and moves from {event.before}")
        if event.before is not None and event.after not in ENTRY_MOVES[event.before]:
            yield self._problem("entry-moves-legally", f"{entry}: {event.before} to {event.after}")
        if event.after is EntryState.READY:
            yield from self._admit(at_ms, event)
        if event.after is EntryState.EXPIRED and event.before in _SHOPS and at_ms < self._due.get(entry, 0):
            early = self._due[entry] - at_ms
            yield self._problem("window-not-ended-early", f"{entry} lapsed {early} ms before its end")
        if event.after in LIVE_ENTRY_STATES:
            other = self._live.setdefault(event.user_id, entry)
            if other != entry:
                yield self._problem("one-live-place", f"{event.user_id} has {other} and {entry}")
        elif self._live.get(event.user_id) == entry:
            del self._live[event.user_id]
        self._place(at_ms, event)

    def overdue(self, now_ms: int, slack_ms: int) -> Iterator[Problem]:
        """Windows that should have ended more than ``slack_ms`` ago."""
        for entry, due_ms in self._due.items():
            if due_ms < now_ms - slack_ms:
                yield self._problem("window-not-past-its-end", f"{entry} is {now_ms - due_ms} ms overdue")

    def _place(self, at_ms: int, event: EntryMoved) -> None:
        """Files the entry where it now stands."""
        entry = event.entry_id
        self._states[entry], self._seqs[entry] = event.after, event.seq
        self._due.pop(entry, None)
        self._lobby.pop(entry, None)
        if event.after in _SHOPS and event.due_at_ms is not None:
            self._due[entry] = event.due_at_ms
        if event.after is EntryState.LOBBY:
            self._lobby[entry] = None
        elif event.after is EntryState.QUEUED:
            heapq.heappush(self._behind if self._lobby_is_over(at_ms) else self._front, (event.seq, entry))

    def _lobby_is_over(self, at_ms: int) -> bool:
        return self.sale is not None and at_ms >= self.sale.general_sale_start_ms

    def _admit(self, at_ms: int, event: EntryMoved) -> Iterator[Problem]:
        sale, entry = self.sale, event.entry_id
        if sale is not None and not sale.room.enabled:
            return
        first = self._next_in_line(at_ms)
        if event.before is None and (first is not None or (self._lobby and self._lobby_is_over(at_ms))):
            yield self._problem("nobody-overtakes", f"{entry} came straight in before {first}")
        elif event.before is EntryState.QUEUED and entry != first:
            yield self._problem("nobody-overtakes", f"{entry} was let in before {first}")
        elif event.before is EntryState.LOBBY and self._drawn is not None and entry != first:
            yield self._problem("nobody-overtakes", f"{entry} was let in before {first}, who was drawn first")
        while self._lately and self._lately[0] <= at_ms - _WINDOW_MS:
            self._lately.popleft()
        if sale is not None and len(self._lately) >= sale.room.admit_per_minute:
            text = f"{entry} is the {len(self._lately) + 1}. in a minute, of {sale.room.admit_per_minute}"
            yield self._problem("admissions-within-rate", text)
        if sale is not None and self.active >= sale.room.max_active:
            text = f"{entry} is the {self.active + 1}. inside, of {sale.room.max_active}"
            yield self._problem("active-within-limit", text)
        self._lately.append(at_ms)

    def _next_in_line(self, at_ms: int) -> EntryId | None:
        """Whose turn it is: those before the lobby, the lobby as drawn, those behind it, who wait for the draw."""
        if (first := self._head(self._front)) is not None:
            return first
        if self._drawn is not None:
            while self._drawn and self._states.get(self._drawn[0]) is not EntryState.LOBBY:
                self._drawn.popleft()
            if self._drawn:
                return self._drawn[0]
        elif self._lobby and self._lobby_is_over(at_ms):
            return None
        return self._head(self._behind)

    def _head(self, line: list[tuple[int, EntryId]]) -> EntryId | None:
        while line and self._states[line[0][1]] is not EntryState.QUEUED:
            heapq.heappop(line)
        return line[0][1] if line else None

    def _problem(self, invariant: str, text: str) -> Problem:
        return Problem(invariant=invariant, where=self._where, text=text)
