"""What is in line for one connection, within bounds: answers to its own messages, and what concerns its buyer alone.

True here: answers come before updates, each in the order in which they were put; an update is given up only for a newer
one of its kind, and only when the line is full. What changes for many, the seats of a section, does not stand in this
line: ``ticketd.realtime.sections`` keeps it for all.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from storage.schema.ids import EventId
from ticketd.realtime.updates import Kind, Personal

LINE_MAX: Final = 64
"""So many updates stand in line at most."""
ANSWERS_MAX: Final = 16
"""While so many answers wait, no further message of the client should be taken in."""

Answer = TypeVar("Answer")


class LineOverrun(Exception):
    """The line is full of updates each of which is the newest of its kind: none can be left out unnoticed."""


class Outbox(Generic[Answer]):
    """The two lines of a connection."""

    __slots__ = ("_answers", "_line")

    def __init__(self) -> None:
        # Empty for nearly all connections at nearly all times, and an empty deque takes 600 bytes.
        self._answers: deque[Answer] | None = None
        self._line: deque[Personal] | None = None

    def __len__(self) -> int:
        """How much is in line, answers and updates."""
        return len(self._answers or ()) + len(self._line or ())

    @property
    def takes_questions(self) -> bool:
        """Whether there is room for one more answer."""
        return self._answers is None or len(self._answers) < ANSWERS_MAX

    def answer(self, answer: Answer) -> None:
        """Puts an answer in line, also beyond the bound: it is for whoever takes in messages to keep it."""
        if self._answers is None:
            self._answers = deque()
        self._answers.append(answer)

    def first_answer(self) -> Answer | None:
        """The oldest answer, left in line; None if there is none."""
        return self._answers[0] if self._answers else None

    def take_answer(self) -> None:
        """Takes the oldest answer out of the line."""
        if self._answers:
            self._answers.popleft()
        if not self._answers:
            self._answers = None

    def put(self, update: Personal) -> None:
        """Puts an update in line. When the line is full, only the newest of each kind stay; LineOverrun if that makes
        no room."""
        if self._line is None:
            self._line = deque()
        if len(self._line) >= LINE_MAX:
            self._line = _newest(self._line, update.kind)
        if len(self._line) >= LINE_MAX:
            raise LineOverrun
        self._line.append(update)

    def take_update(self) -> Personal | None:
        """The oldest update; None if there is none."""
        if not self._line:
            self._line = None
            return None
        return self._line.popleft()

    def drop(self, kind: Kind) -> None:
        """Takes out the updates of a kind: they are not true any more."""
        if self._line:
            self._line = deque(update for update in self._line if update.kind != kind)

    def drop_event(self, event_id: EventId) -> None:
        """Takes out the updates of an event."""
        if self._line:
            self._line = deque(update for update in self._line if update.event_id != event_id)

    def clear(self) -> None:
        """Empties both lines."""
        self._answers = self._line = None


def _newest(line: deque[Personal], coming: Kind) -> deque[Personal]:
    """The newest of each kind, without the kind that comes."""
    seen: set[Kind] = {coming}
    kept: deque[Personal] = deque()
    for update in reversed(line):
        if update.kind not in seen:
            seen.add(update.kind)
            kept.appendleft(update)
    return kept
