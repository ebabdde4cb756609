"""The best seats that stand together: which block of a row is taken when a buyer asks for a number of seats.

In this order: the first section that has them; there a block that leaves no lone seat behind, while there is one; there
the first row; there the block nearest the middle of the row, the earlier one of two. A seat is left alone if it is free
and had a free neighbour that is taken now, and has none any more.

So that a nearly sold-out section need not be read row by row, each section keeps its *openings*: two bytes for each
row, a set of the lengths of its runs of free seats. They only narrow the search down; the rows themselves decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ticketd.domain.seat_rows import SeatRow

LONGEST_COUNTED: Final = 15
"""Runs of this length and longer share one bit."""

WORD_BYTES: Final = 2

_ONE_IF_FREE: Final = bytes([1]) + bytes(255)
_RUN: Final = re.compile(b"\x01+")


class Block(NamedTuple):
    """Seats side by side in a row. The least block is the best: the fewest seats left alone, then nearest the middle
    (``off_middle``, in half seats), then the first."""

    lone: int
    off_middle: int
    start: int


def openings_of(row: SeatRow) -> int:
    """The lengths of a row's runs of free seats: bit n for a run of n, bit 15 for 15 and more."""
    word = 0
    for run in _RUN.findall(row.states_in_order().translate(_ONE_IF_FREE)):
        word |= 1 << min(len(run), LONGEST_COUNTED)
    return word


def pack_openings(words: Iterable[int]) -> bytes:
    """The stored openings of a section, row by row."""
    return b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)


def unpack_openings(packed: bytes) -> Sequence[int]:
    """The words of stored openings."""
    words = range(0, len(packed), WORD_BYTES)
    return [packed[at] | packed[at + 1] << 8 for at in words]


def best_block(free: bytes, wanted: bytes, quantity: int) -> Block | None:
    """The best block of ``quantity`` seats of a row, None if it has none.

    Both are in the order of the row, a byte for each seat: 1 if it is free (``wanted``: and of the tier asked for),
    else 0.
    """
    pattern = b"\x01" * quantity
    best: Block | None = None
    start = wanted.find(pattern)
    while start >= 0:
        block = Block(
            _left_alone(free, start, start + quantity), abs(2 * start + quantity - len(free)), start
        )
        best = block if best is None else min(best, block)
        start = wanted.find(pattern, start + 1)
    return best


def best_in_section(
    openings: Sequence[int], row_at: Callable[[int], SeatRow], quantity: int, tier: int | None
) -> tuple[int, tuple[int, ...]] | None:
    """The best block of a section: the place of its row and the positions of its seats; None if it has none.

    ``row_at`` reads the row at a place of the section. With a ``tier``, only seats of that tier.
    """
    candidates = _runs_from(quantity)
    # A row whose only fitting runs are one seat longer leaves a seat alone, whatever is taken of it.
    leaves_one = 1 << (quantity + 1) if quantity + 1 < LONGEST_COUNTED and tier is None else 0
    best: tuple[Block, int, SeatRow] | None = None
    for place, word in enumerate(openings):
        fitting = word & candidates
        if not fitting or (best is not None and fitting == leaves_one):
            continue
        row = row_at(place)
        free = row.states_in_order().translate(_ONE_IF_FREE)
        wanted = free if tier is None else _of_tier(free, row, tier)
        block = best_block(free, wanted, quantity)
        if block is None or (best is not None and best[0].lone <= block.lone):
            continue
        best = block, place, row
        if block.lone == 0:
            break
    if best is None:
        return None
    block, place, row = best
    return place, tuple(row.order[block.start : block.start + quantity])


def _runs_from(quantity: int) -> int:
    """The bits of all runs in which ``quantity`` seats find room."""
    return (1 << (LONGEST_COUNTED + 1)) - (1 << min(quantity, LONGEST_COUNTED))


def _of_tier(free: bytes, row: SeatRow, tier: int) -> bytes:
    tiers = row.tiers
    return bytes(
        is_free and tiers[position] == tier for is_free, position in zip(free, row.order, strict=True)
    )


def _left_alone(free: bytes, start: int, end: int) -> int:
    """How many seats stand alone once those from ``start`` up to ``end`` are taken."""
    left = start >= 1 and free[start - 1] and not (start >= 2 and free[start - 2])
    right = end < len(free) and free[end] and not (end + 1 < len(free) and free[end + 1])
    return bool(left) + bool(right)
