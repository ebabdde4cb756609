"""Which images a power cut may leave behind, out of the steps that a daemon took.

What was synced is there. Of what was written and not synced, any part may be: a disk writes in any order, and in
sectors of 512 bytes, each of which is written or not. So at each moment there are as many images as subsets of the
unsynced sectors; here they are listed in an order in which the likeliest to do harm come first: every prefix of the
writes, every tear within one, each write alone and each missing, and then random subsets. No image is listed twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from tests.ladder.power_cuts.trace import Step, Synced, Told, Write

SECTOR: Final = 512
META_END: Final = 2 * 4096
"""LMDB's two meta pages, which say what is committed, lie before this."""


@dataclass(frozen=True, slots=True)
class Sector:
    """A sector that a write changes: its bytes, and those that are durable there (zeros past the end of the file)."""

    offset: int
    data: bytes
    before: bytes


@dataclass
class Moment:
    """Just before something becomes durable: what is (``disk``), what may be (``writes``, each in its sectors), and up
    to which version of the event somebody was told."""

    disk: Disk
    writes: list[list[Sector]]
    commits: list[int]
    """After how many of the writes a commit is whole: those that end with a meta page."""
    told: int

    @cached_property
    def sectors(self) -> list[Sector]:
        """All of them, in the order of writing."""
        return [sector for write in self.writes for sector in write]

    @cached_property
    def overwrites(self) -> bool:
        """Whether some are written twice."""
        return len({sector.offset for sector in self.sectors}) < len(self.sectors)


@dataclass
class Disk:
    """The durable content of the file."""

    content: bytearray = field(default_factory=bytearray)

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        if len(self.content) < end:
            self.content.extend(bytes(end - len(self.content)))
        self.content[offset:end] = data


def moments(steps: Sequence[Step], disk: Disk) -> Iterator[Moment]:
    """Each moment before something becomes durable, and the last one. ``disk`` is what was there at the beginning.

    It goes on to change: a moment is to be used before the next is asked for.
    """
    pending: dict[int, Write] = {}
    told = 0
    for step in steps:
        match step:
            case Write():
                pending[step.number] = step
            case Told():
                told = max(told, step.version)
            case Synced(numbers) if any(number in pending for number in numbers):
                yield _moment(disk, list(pending.values()), told)
                for number in sorted(numbers):
                    if (write := pending.pop(number, None)) is not None:
                        disk.write(write.offset, write.data)
            case Synced():
                pass
    yield _moment(disk, list(pending.values()), told)


def _moment(disk: Disk, pending: Sequence[Write], told: int) -> Moment:
    writes: list[list[Sector]] = []
    commits: list[int] = []
    size = len(disk.content)
    for write in pending:
        writes.append(list(_sectors(write, disk, size)))
        if write.offset < META_END:
            commits.append(len(writes))
    return Moment(disk, writes, commits, told)


def _sectors(write: Write, disk: Disk, size: int) -> Iterator[Sector]:
    at = write.offset
    end = at + len(write.data)
    while at < end:
        till = min((at // SECTOR + 1) * SECTOR, end)
        data = write.data[at - write.offset : till - write.offset]
        before = bytes(disk.content[at:till])
        # A sector past the end of the file changes its length, whatever is in it.
        if data != before or till > size:
            yield Sector(at, data, before.ljust(len(data), b"\0"))
        at = till


def masks(moment: Moment, chances: random.Random, most: int) -> Iterator[int]:
    """Subsets of the moment's sectors, one bit each; none twice, at most so many. The empty one is not among them:
    that image is the whole one of the moment before."""
    known: set[int] = {0}
    bits = len(moment.sectors)
    for mask in _candidates(moment, chances, most):
        lean = _without_hidden(moment, mask)
        if lean not in known:
            known.add(lean)
            yield lean
        if len(known) > most or len(known) == 1 << bits:
            return


def _candidates(moment: Moment, chances: random.Random, most: int) -> Iterator[int]:
    spans: list[tuple[int, int]] = []
    at = 0
    for write in moment.writes:
        spans.append((at, at + len(write)))
        at += len(write)
    everything = (1 << at) - 1
    yield everything
    whole = [_span(first, end) for first, end in spans]
    for first, end in spans:  # every prefix, and every tear in the write that comes next
        for cut in range(first, end + 1):
            yield _span(0, cut)
            yield _span(first, cut)
            yield everything & ~_span(first, cut)
    for span in whole:
        yield span
        yield everything & ~span
    for _ in range(2 * most):
        chosen = 0
        for span in whole:
            if chances.random() < 0.5:
                chosen |= span
        yield chosen
        if at:
            yield chosen ^ (1 << chances.randrange(at))
            yield chances.getrandbits(at)


def _span(first: int, end: int) -> int:
    return (1 << end) - (1 << first)


def _without_hidden(moment: Moment, mask: int) -> int:
    """The mask without sectors that a later write of it covers whole: they leave no trace in the image."""
    if not moment.overwrites:
        return mask
    seen: dict[int, int] = {}
    sectors = moment.sectors
    for bit, sector in enumerate(sectors):
        if mask >> bit & 1:
            earlier = seen.get(sector.offset)
            if earlier is not None and len(sectors[earlier].data) <= len(sector.data):
                mask &= ~(1 << earlier)
            seen[sector.offset] = bit
    return mask
