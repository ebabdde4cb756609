"""The rules of a waiting room, written down from what is promised to buyers, beside the product and without its code.

The reference is told what people asked for, what they were answered, and every move that the room made; whatever was
not to be expected is a Difference. It knows buyers as numbers, times as milliseconds, states as their names.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from tests.sim.line import PlainLine

WINDOW_MS: Final = 60_000
WAITING: Final = frozenset({"LOBBY", "QUEUED"})


class Difference(Exception):
    """The room did what it should not, or did not what it should."""


class Wish(Enum):
    """What somebody asks for."""

    JOIN = 0
    JOIN_AGAIN = 1
    SHARE_DEVICE = 2
    LEAVE = 3
    CLAIM = 4
    FINISH = 5


_ALWAYS_REFUSED: Final = {
    Wish.JOIN_AGAIN: "ALREADY_IN_QUEUE",
    Wish.SHARE_DEVICE: "DEVICE_ALREADY_IN_QUEUE",
}


class Deed(NamedTuple):
    """What somebody asked for, and the code of the refusal, or the empty string. ``told`` is the position and the size
    of the queue as who joined was answered."""

    wish: Wish
    number: int
    refusal: str = ""
    told: tuple[int, int] | None = None


class Move(NamedTuple):
    """That an entry went on to another state; the first one of its life if ``is_new``."""

    number: int
    state: str
    is_new: bool = False


@dataclass
class Rules:
    """The settings of the room; an operator may change them as time goes on."""

    presale_ms: int
    opens_ms: int
    capacity: int
    max_active: int
    admit_per_minute: int
    claim_ms: int
    access_ms: int
    paused: bool = False


class Reference:
    """One room, from the opening of its lobby to the last who leaves."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.now_ms = 0
        self.states: dict[int, str] = {}
        self.lobby: dict[int, None] = {}
        self.in_lobby_at_opening: list[int] | None = None
        self._left_since: list[int] = []
        self.front = PlainLine()
        self.drawn: PlainLine | None = None
        self.behind = PlainLine()
        self.due: dict[int, int] = {}
        self.admitted = 0
        self._lately: deque[int] = deque()
        self._dues: list[tuple[int, int]] = []

    # --- what the room should say -----------------------------------------------------------------------------------

    @property
    def queue_size(self) -> int:
        """How many wait."""
        return len(self.front) + len(self.lobby) + len(self.drawn or ()) + len(self.behind)

    @property
    def active(self) -> int:
        """How many were let in and have not ended."""
        return len(self.due)

    def position(self, number: int) -> int:
        """The place of one who waits, 1 for the next; 0 for everybody else."""
        if number in self.front:
            return self.front.position(number)
        before = len(self.front)
        if self.drawn is not None and number in self.drawn:
            return before + self.drawn.position(number)
        before += len(self.lobby) + len(self.drawn or ())
        return before + self.behind.position(number) if number in self.behind else 0

    def first_and_last(self) -> list[int]:
        """The first and the last of each part of the line."""
        lines = [line for line in (self.front, self.drawn, self.behind) if line is not None]
        ends = [end for line in lines for end in (line.first(), line.last())]
        return [end for end in ends if end is not None]

    def next_in_line(self) -> int | None:
        """Who is let in next; nobody who joined after the opening is while the lobby is being drawn."""
        if len(self.front):
            return self.front.first()
        if self.lobby and self.now_ms >= self.rules.opens_ms:
            return None
        if self.drawn is not None and len(self.drawn):
            return self.drawn.first()
        return self.behind.first()

    def may_admit(self) -> bool:
        """Whether there is a place for one more at this time."""
        while self._lately and self._lately[0] <= self.now_ms - WINDOW_MS:
            self._lately.popleft()
        rules = self.rules
        return (
            not rules.paused
            and self.now_ms >= rules.presale_ms
            and self.active < rules.max_active
            and len(self._lately) < rules.admit_per_minute
        )

    def check_settled(self) -> None:
        """Once the room has done all that it does by itself: nothing is left to do at this time."""
        while self._dues and self.due.get(self._dues[0][1]) != self._dues[0][0]:
            heapq.heappop(self._dues)
        if self._dues and self._dues[0][0] <= self.now_ms:
            raise Difference(f"{self._dues[0][1]} is still in, {self.now_ms - self._dues[0][0]} ms overdue")
        if self.next_in_line() is not None and self.may_admit():
            raise Difference(f"{self.next_in_line()} is not let in, though there is a place")

    # --- what the room did ------------------------------------------------------------------------------------------

    def pass_time(self, now_ms: int) -> None:
        """It is so late. Who is in the lobby at the opening is drawn."""
        if now_ms < self.now_ms:
            raise Difference(f"time went back by {self.now_ms - now_ms} ms")
        self.now_ms = now_ms
        if now_ms >= self.rules.opens_ms and self.in_lobby_at_opening is None:
            self.in_lobby_at_opening = list(self.lobby)

    def list_of(self, entry_count: int) -> list[int]:
        """The list of the draw, in order of joining, which has so many entries: those in the lobby at the opening but
        for the first who left before the list was closed, at the very stroke."""
        listed = self.in_lobby_at_opening or []
        gone = set(self._left_since[: len(listed) - entry_count])
        return [number for number in listed if number not in gone]

    def reveal(self, order: Sequence[int]) -> None:
        """The lobby was drawn in this order, whoever has left it since the opening among them."""
        if sorted(order) != sorted(self.list_of(len(order))):
            raise Difference("not those were drawn who were in the lobby at the opening")
        if self.drawn is not None:
            raise Difference("the lobby was drawn twice")
        if not set(order).issuperset(self.lobby):
            raise Difference("somebody in the lobby was not drawn")
        self.drawn = PlainLine(number for number in order if number in self.lobby)
        self.lobby = {}

    def replay(self, moves: Sequence[Move], deeds: Sequence[Deed] = ()) -> None:
        """One commit at the present time: the deeds in it, in their order, and the moves that it told of."""
        left = deque(moves)
        for deed in deeds:
            self._follow(deed, left)
        for move in left:
            self._follow_room(move)

    def _follow(self, deed: Deed, left: deque[Move]) -> None:
        number = deed.number
        expected, state = self._outcome(deed)
        if deed.refusal != expected:
            raise Difference(
                f"{deed.wish.name} of {number}: {deed.refusal or 'done'}, not {expected or 'done'}"
            )
        if expected or not state:
            return
        move = left.popleft() if left else None
        is_new = deed.wish is Wish.JOIN
        if move != Move(number, state, is_new):
            raise Difference(f"{deed.wish.name} of {number}: {move}, not {state}")
        self._go(number, state)
        if deed.told not in {None, (self.position(number), self.queue_size)}:
            raise Difference(
                f"{number} joined at {deed.told}, not {(self.position(number), self.queue_size)}"
            )
        # A place that falls free goes to the next in line in the same commit.
        while left and not left[0].is_new and left[0].state == "READY" and deed.wish is not Wish.CLAIM:
            self._follow_room(left.popleft())

    def _outcome(self, deed: Deed) -> tuple[str, str]:
        """The refusal that the deed should meet, and the state that it should lead to; none for no change."""
        number = deed.number
        state = self.states.get(number, "")
        if deed.wish is Wish.JOIN:
            return self._outcome_of_join()
        if deed.wish in _ALWAYS_REFUSED:
            return _ALWAYS_REFUSED[deed.wish], ""
        if deed.wish is Wish.FINISH:
            return "", "" if state == "DONE" else "DONE"
        overdue = number in self.due and self.due[number] <= self.now_ms
        if overdue or state not in {"LOBBY", "QUEUED", "READY", "SHOPPING"}:
            return "QUEUE_ENTRY_EXPIRED", ""
        if deed.wish is Wish.LEAVE:
            return "", "LEFT"
        return "", "SHOPPING" if state == "READY" else ""

    def _outcome_of_join(self) -> tuple[str, str]:
        open_now = self.now_ms >= self.rules.presale_ms
        if (
            self.queue_size - (0 if self.now_ms >= self.rules.opens_ms else len(self.lobby)) == 0
            and self.may_admit()
        ):
            return "", "READY"
        if self.queue_size >= self.rules.capacity:
            return "QUEUE_FULL", ""
        return "", "QUEUED" if open_now else "LOBBY"

    def _follow_room(self, move: Move) -> None:
        """A move that the room made by itself."""
        number, state, is_new = move
        if is_new:
            raise Difference(f"{number} has joined, and did not ask to")
        if state == "READY":
            if number != self.next_in_line():
                raise Difference(f"{number} was let in before {self.next_in_line()}")
            self._go(number, state)
        elif state == "EXPIRED":
            if self.due.get(number, self.now_ms + 1) > self.now_ms:
                raise Difference(f"{number} lapsed at {self.now_ms}, not at {self.due.get(number)}")
            self._go(number, state)
        else:
            raise Difference(f"{number} went to {state} by itself")

    def _go(self, number: int, state: str) -> None:
        """The entry goes on to its next state."""
        if state == "READY" and not self.may_admit():
            raise Difference(
                f"{number} was let in, though {self.active} of {self.rules.max_active} are in, {len(self._lately)} "
                f"since a minute, at most {self.rules.admit_per_minute}"
            )
        self._take_out(number)
        self.states[number] = state
        if state == "LOBBY":
            self.lobby[number] = None
        elif state == "QUEUED":
            (self.behind if self.now_ms >= self.rules.opens_ms else self.front).append(number)
        elif state == "READY":
            self.admitted += 1
            self._lately.append(self.now_ms)
            self._set_due(number, self.now_ms + self.rules.claim_ms)
        elif state == "SHOPPING":
            self._set_due(number, self.now_ms + self.rules.access_ms)

    def _set_due(self, number: int, due_ms: int) -> None:
        self.due[number] = due_ms
        heapq.heappush(self._dues, (due_ms, number))

    def _take_out(self, number: int) -> None:
        if number in self.lobby and self.in_lobby_at_opening is not None:
            self._left_since.append(number)
        self.lobby.pop(number, None)
        self.due.pop(number, None)
        for line in (self.front, self.drawn, self.behind):
            if line is not None and number in line:
                line.remove(number)
