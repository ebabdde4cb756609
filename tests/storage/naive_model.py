"""A store as one would write it on a napkin, to compare the real one with; shares no code with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from storage.engine import Partition, Transaction
from storage.keys import pack_key, unpack_parts
from storage.overlay import nested
from tests.storage.stores import HALL, OTHER, Refused

Op = tuple[object, ...]

_numbers = st.integers(0, 12)
_halls = st.sampled_from([HALL, OTHER])
_plain_ops = st.one_of(
    st.tuples(st.just("put"), _halls, _numbers, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("delete"), _halls, _numbers),
    st.tuples(st.just("get"), _halls, _numbers),
    st.tuples(st.just("scan"), _halls, _numbers, _numbers, st.none() | st.integers(1, 3), st.booleans()),
    st.tuples(st.just("emit"), _halls, st.text(max_size=3)),
)
_inner_ops = st.tuples(st.just("nested"), st.lists(_plain_ops, max_size=4), st.booleans())
OPS = st.tuples(
    st.lists(st.one_of(_plain_ops, _inner_ops), max_size=8),
    st.sampled_from(["keep", "keep", "keep", "refuse", "break"]),
)
"""What one command does, and how it ends."""


def perform(tx: Transaction, ops: list[Op]) -> list[object]:
    """Does ``ops`` on a real transaction; what was read."""
    seen: list[object] = []
    for op in ops:
        match op:
            case "put", bytes(hall), int(number), bytes(value):
                tx.put(pack_key(Partition(hall), 1, number), value)
            case "delete", bytes(hall), int(number):
                tx.delete(pack_key(Partition(hall), 1, number))
            case "get", bytes(hall), int(number):
                seen.append(tx.get(pack_key(Partition(hall), 1, number)))
            case "scan", bytes(hall), int(lo), int(hi), limit, bool(reverse):
                assert limit is None or isinstance(limit, int)
                part = Partition(hall)
                found = tx.scan(pack_key(part, 1, lo), pack_key(part, 1, hi), limit, reverse)
                seen.append([(unpack_parts(key)[1], value) for key, value in found])
            case "emit", bytes(hall), str(text):
                tx.emit(Partition(hall), text)
            case "nested", list(inner), bool(kept):
                over = nested(tx)
                seen.append(perform(over, inner))
                if kept:
                    over.merge_into(tx)
    return seen


@dataclass
class Model:
    """Every pair by (partition, number), and every event by partition, in order."""

    pairs: dict[tuple[bytes, int], bytes] = field(default_factory=dict)
    events: dict[bytes, list[str]] = field(default_factory=lambda: {HALL: [], OTHER: []})

    def copy(self) -> Model:
        return Model(dict(self.pairs), {hall: list(events) for hall, events in self.events.items()})

    def perform(self, ops: list[Op]) -> list[object]:
        """What ``perform`` would see on a store that holds this."""
        seen: list[object] = []
        for op in ops:
            match op:
                case "put", bytes(hall), int(number), bytes(value):
                    self.pairs[hall, number] = value
                case "delete", bytes(hall), int(number):
                    self.pairs.pop((hall, number), None)
                case "get", bytes(hall), int(number):
                    seen.append(self.pairs.get((hall, number)))
                case "scan", bytes(hall), int(lo), int(hi), limit, bool(reverse):
                    assert limit is None or isinstance(limit, int)
                    inside = [number for name, number in self.pairs if name == hall and lo <= number < hi]
                    inside.sort(reverse=reverse)
                    seen.append([(number, self.pairs[hall, number]) for number in inside[:limit]])
                case "emit", bytes(hall), str(text):
                    self.events[hall].append(text)
                case "nested", list(inner), bool(kept):
                    inside_of = self.copy()
                    seen.append(inside_of.perform(inner))
                    if kept:
                        self.pairs, self.events = inside_of.pairs, inside_of.events
        return seen

    def run(self, ops: list[Op], end: str) -> list[object] | type[Exception]:
        """Runs a command; what it saw, or what it ended with, having changed nothing."""
        after = self.copy()
        seen = after.perform(ops)
        if end == "refuse":
            return Refused
        if end == "break":
            return ZeroDivisionError
        self.pairs, self.events = after.pairs, after.events
        return seen


def run_real(tx: Transaction, ops: list[Op], end: str) -> list[object]:
    """The same command on a real transaction."""
    seen = perform(tx, ops)
    if end == "refuse":
        raise Refused("refused")
    if end == "break":
        raise ZeroDivisionError("broken")
    return seen
