"""How many stand before a place in the line: exact at every commit, in O(log n), without reading the store.

What is here is made from the store alone: from the line when it is first asked for, then from each change of an entry.
The drawn of a lobby stand in a line of their own, by their ranks, between those who joined before the lobby's places
were kept and those who joined after. So nothing of it need be saved, and a restart changes no position. What a position
is worth (a state, a wait) is not known here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from storage.engine import Change, Engine, Partition, Reader, Snapshot
from storage.schema.draws import CHUNK_NUMBERS, NO_RANK, no_ranks, unpack_numbers
from storage.schema.events import EntryMoved, EventDeleted, LobbyDrawn
from storage.schema.ids import EventId
from storage.schema.layout import DRAW, DRAWN_LEFT, DRAWN_RANKS, LINE, ROOM, event_partition
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

    @staticmethod
    def block(first: int, count: int) -> Line:
        """A line of ``count`` numbers in a row, from ``first`` on. It is made by copying alone, since the tree of a
        line without gaps looks the same at every power of two."""
        line = Line()
        if count <= 0:
            return line
        tree = array(_COUNTS, (1,))
        while len(tree) < count:
            tree += tree
            tree[-1] *= 2
        line._base, line._total = first, count
        line._tree = tree[:count] + _zeros(max(SMALLEST_LINE, len(tree)) - count)
        slot = (count - 1) | count
        while slot < len(line._tree):
            line._tree[slot] = count - (slot & (slot + 1))
            slot |= slot + 1
        return line

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


class _Drawn:
    """The drawn of one lobby who wait: a line of their ranks. ``ranks`` has the rank of each number in the order of
    joining from ``first_joined_seq`` on, ``version`` is that of the partition up to which the line is told."""

    __slots__ = ("first_joined_seq", "line", "opening_seq", "ranks", "version")

    def __init__(self, view: Snapshot, partition: Partition, opening_seq: int, first_joined_seq: int) -> None:
        self.opening_seq = opening_seq
        self.first_joined_seq = first_joined_seq
        self.version = view.version(partition)
        self.ranks = _read_ranks(view, partition)
        room, draw = ROOM.get(view, partition), DRAW.get(view, partition)
        next_rank = 0 if room is None else room.next_rank
        entry_count = 0 if draw is None or draw.entry_count is None else draw.entry_count
        self.line = Line.block(next_rank, entry_count - next_rank)
        for (seq,) in DRAWN_LEFT.scan(view, partition):
            if isinstance(seq, int) and self.rank(seq) >= next_rank:
                self.line.remove(self.rank(seq))

    @staticmethod
    def of(view: Snapshot, partition: Partition) -> _Drawn | None:
        """The drawn of an event; None if it has no lobby that is drawn."""
        room = ROOM.get(view, partition)
        draw = None if room is None or room.opening_seq is None else DRAW.get(view, partition)
        if room is None or room.opening_seq is None or draw is None or draw.drawn_at_ms is None:
            return None
        return _Drawn(view, partition, room.opening_seq, draw.first_joined_seq)

    def rank(self, seq: int) -> int:
        """The rank, from 0, of the entry with this number in the order of joining."""
        return self.ranks[seq - self.first_joined_seq]

    def has(self, seq: int) -> bool:
        """Whether the number is one of the lobby's."""
        return 0 <= seq - self.first_joined_seq < len(self.ranks) and self.rank(seq) != NO_RANK


class _EventLine:
    """The line of one event, and the version of its partition up to which it is told; and the drawn, if there are."""

    __slots__ = ("drawn", "line", "version")

    def __init__(self, line: Line, version: int, drawn: _Drawn | None) -> None:
        self.line = line
        self.version = version
        self.drawn = drawn

    def drawn_before(self, seq: int) -> int:
        """How many of the drawn stand before who joined the line with this number."""
        return 0 if self.drawn is None or seq < self.drawn.opening_seq else len(self.drawn.line)

    def move(self, event: EntryMoved, version: int) -> None:
        """What a change of an entry does. The store may have been read when that was committed already, but not
        published yet."""
        if version > self.version:
            self.version = version
            if event.before is EntryState.QUEUED:
                self.line.remove(event.seq)
            if event.after is EntryState.QUEUED:
                self.line.add(event.seq)
        drawn = self.drawn
        if drawn is not None and event.before is EntryState.LOBBY and version > drawn.version:
            drawn.version = version
            drawn.line.remove(drawn.rank(event.seq))


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
        """The place of the entry with this sequence number that waits in the line: 1 is next."""
        held = self._line(event_id)
        return held.line.before(seq) + held.drawn_before(seq) + 1

    def drawn_position(self, event_id: EventId, seq: int) -> int | None:
        """The place of an entry that was drawn and waits, by its number in the order of joining; None if no draw of the
        event has been told of here yet."""
        held = self._line(event_id)
        drawn = held.drawn
        if drawn is None or not drawn.has(seq):
            return None
        return held.line.before(drawn.opening_seq) + drawn.line.before(drawn.rank(seq)) + 1

    def is_drawn(self, event_id: EventId) -> bool:
        """Whether the event's lobby stands in the line, as far as has been told of here."""
        return self._line(event_id).drawn is not None

    def waiting(self, event_id: EventId) -> int:
        """How many wait in the event's line; those in a lobby do not stand in it until they are drawn."""
        held = self._line(event_id)
        return len(held.line) + (0 if held.drawn is None else len(held.drawn.line))

    def _line(self, event_id: EventId) -> _EventLine:
        held = self._lines.get(event_id)
        if held is None:
            partition = event_partition(event_id)
            with self._engine.snapshot(partition) as snapshot:
                seqs = (seq for (seq,), _ in LINE.scan(snapshot, partition) if isinstance(seq, int))
                held = _EventLine(Line(seqs), snapshot.version(partition), _Drawn.of(snapshot, partition))
            self._lines[event_id] = held
        return held

    def _notice(self, changes: Sequence[Change]) -> None:
        for change in changes:
            event = change.event
            if isinstance(event, EntryMoved):
                held = self._lines.get(event.event_id)
                if held is not None:
                    held.move(event, change.version)
            elif isinstance(event, LobbyDrawn):
                held = self._lines.get(event.event_id)
                if held is not None and held.drawn is None:
                    held.drawn = self._read_drawn(event.event_id)
            elif isinstance(event, EventDeleted):
                self._lines.pop(event.event_id, None)

    def _read_drawn(self, event_id: EventId) -> _Drawn | None:
        partition = event_partition(event_id)
        with self._engine.snapshot(partition) as snapshot:
            return _Drawn.of(snapshot, partition)


def _read_ranks(reader: Reader, partition: Partition) -> array[int]:
    """The rank of each number in the order of joining, from the lobby's first."""
    ranks = array(_COUNTS)
    for (number,), chunk in DRAWN_RANKS.scan(reader, partition):
        if isinstance(number, int):
            ranks.extend(no_ranks(number * CHUNK_NUMBERS - len(ranks)))
            ranks.extend(unpack_numbers(chunk))
    return ranks


def _zeros(width: int) -> array[int]:
    return array(_COUNTS, bytes(width * array(_COUNTS).itemsize))
