"""How many stand before a place in the line: exact at every commit, in O(log n), without reading the store.

What is here is made from the store alone: from the line when it is first asked for, then from each change of an entry.
So nothing of it need be saved, and a restart changes no position. What a position is worth (a state, a wait) is not
known here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from storage.engine import Change, Engine
from storage.schema.events import EntryMoved, EventDeleted
from storage.schema.ids import EventId
from storage.schema.layout import LINE, event_partition
from storage.schema.states import EntryState

SMALLEST_LINE: Final = 64
_COUNTS: Final = "I"


class Line:
    """The sequence numbers that wait, counted by a Fenwick tree over the numbers from ``base`` on.

    ``tree[i]`` counts the numbers of slots ``(i & (i + 1)) … i``, so that adding, removing and counting touch O(log n)
    slots. The width is a power of two, which lets the tree grow to either side, and drop a left half that is empty,
    by copying alone. 4 bytes a slot; the slots span the numbers that wait, at most twice over.
    """

    __slots__ = ("_base", "_total", "_tree")

    def __init__(self, seqs: Iterable[int] = ()) -> None:
        """A line of these numbers, each at most once, in ascending order."""
        waiting = array("Q", seqs)
        self._base = waiting[0] if waiting else 0
        self._total = len(waiting)
        width = SMALLEST_LINE
        while waiting and waiting[-1] - self._base >= width:
            width *= 2
        tree = _zeros(width)
        for seq in waiting:
            tree[seq - self._base] = 1
        for slot in range(width):
            parent = slot | (slot + 1)
            if parent < width:
                tree[parent] += tree[slot]
        self._tree = tree

    def __len__(self) -> int:
        """How many wait."""
        return self._total

    @property
    def slots(self) -> int:
        """How many numbers the tree has room for, at 4 bytes each."""
        return len(self._tree)

    def add(self, seq: int) -> None:
        """Adds a number that is not in the line."""
        if self._total == 0:
            self._base = seq
            self._tree = _zeros(SMALLEST_LINE)
        while seq < self._base:
            self._grow_left()
        while seq - self._base >= len(self._tree):
            self._drop_left_half_or_grow_right()
        self._count(seq, 1)

    def remove(self, seq: int) -> None:
        """Removes a number that is in the line."""
        self._count(seq, -1)

    def before(self, seq: int) -> int:
        """How many numbers of the line are smaller than ``seq``."""
        slot = seq - self._base - 1
        if slot >= len(self._tree):
            return self._total
        tree = self._tree
        count = 0
        while slot >= 0:
            count += tree[slot]
            slot = (slot & (slot + 1)) - 1
        return count

    def _count(self, seq: int, step: int) -> None:
        tree = self._tree
        slot = seq - self._base
        while slot < len(tree):
            tree[slot] += step
            slot |= slot + 1
        self._total += step

    def _grow_left(self) -> None:
        """Doubles the width downwards: a left half of nobody, the old tree as the right half."""
        width = len(self._tree)
        tree = _zeros(width)
        tree.extend(self._tree)
        self._tree = tree
        self._base -= width

    def _drop_left_half_or_grow_right(self) -> None:
        """Makes room at the end: instead of an empty left half if there is one, else by doubling the width.

        In the right half of a tree every slot counts as in a tree of its own, but for the last, which has the total.
        """
        half = len(self._tree) // 2
        if self._tree[half - 1] == 0:
            tree = self._tree[half:]
            self._base += half
        else:
            tree = self._tree
        grown = tree + _zeros(len(tree))
        grown[-1] = self._total
        self._tree = grown


class _EventLine:
    """The line of one event, and the version of its partition up to which it is told."""

    __slots__ = ("line", "version")

    def __init__(self, line: Line, version: int) -> None:
        self.line = line
        self.version = version


class Positions:
    """The lines of all events, kept by the changes of the engine. To be used in the event loop's thread."""

    def __init__(self, engine: Engine) -> None:
        """Begins to follow the engine; each line is read from the store when it is first asked for, or by ``load``."""
        self._engine = engine
        self._lines: dict[EventId, _EventLine] = {}
        self._unsubscribe = engine.subscribe(self._notice)

    def close(self) -> None:
        """Follows the engine no longer."""
        self._unsubscribe()
        self._lines.clear()

    def load(self, event_id: EventId) -> None:
        """Reads the line of an event from the store, if it is not known yet."""
        self._line(event_id)

    def position(self, event_id: EventId, seq: int) -> int:
        """The place of the waiting entry with this sequence number: 1 is next."""
        return self._line(event_id).before(seq) + 1

    def waiting(self, event_id: EventId) -> int:
        """How many wait in the event's line; those in a lobby do not stand in it yet."""
        return len(self._line(event_id))

    def _line(self, event_id: EventId) -> Line:
        held = self._lines.get(event_id)
        if held is None:
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as snapshot:
                seqs = (seq for (seq,), _ in LINE.scan(snapshot, partition) if isinstance(seq, int))
                held = _EventLine(Line(seqs), snapshot.version(partition))
            self._lines[event_id] = held
        return held.line

    def _notice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event = change.event
            if isinstance(event, EntryMoved):
                held = self._lines.get(event.event_id)
                # The store may have been read when this was committed already, but not published yet.
                if held is not None and change.version > held.version:
                    held.version = change.version
                    _apply(held.line, event)
            elif isinstance(event, EventDeleted):
                self._lines.pop(event.event_id, None)


def _apply(line: Line, event: EntryMoved) -> None:
    if event.before is EntryState.QUEUED:
        line.remove(event.seq)
    if event.after is EntryState.QUEUED:
        line.add(event.seq)


def _zeros(width: int) -> array[int]:
    return array(_COUNTS, bytes(width * array(_COUNTS).itemsize))
