"""Who stands where in a line: a plain list of all who ever stood in it, and a byte for each who still does.

Nothing of the product is in it, and nothing of how the product counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BLOCK: Final = 1024
"""The list is counted in blocks of this length, so that a place among a million is found by two short sums."""


class PlainLine:
    """Numbers in the order in which they came; each comes once."""

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._numbers: list[int] = []
        self._slots: dict[int, int] = {}
        self._stands = bytearray()
        self._counts: list[int] = []
        self._head = 0
        self._size = 0
        for number in numbers:
            self.append(number)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, number: int) -> bool:
        return number in self._slots

    def append(self, number: int) -> None:
        """Puts a number behind all others."""
        if number in self._slots:
            raise ValueError(f"{number} stands in the line already")
        slot = len(self._numbers)
        self._numbers.append(number)
        self._slots[number] = slot
        self._stands.append(1)
        if slot % BLOCK == 0:
            self._counts.append(0)
        self._counts[slot // BLOCK] += 1
        self._size += 1

    def remove(self, number: int) -> None:
        """Takes a number out, wherever it stands."""
        slot = self._slots.pop(number)
        self._stands[slot] = 0
        self._counts[slot // BLOCK] -= 1
        self._size -= 1

    def first(self) -> int | None:
        """The number that all others stand behind."""
        if self._size == 0:
            return None
        while not self._stands[self._head]:
            self._head += 1
        return self._numbers[self._head]

    def last(self) -> int | None:
        """The number that stands behind all others."""
        if self._size == 0:
            return None
        slot = len(self._numbers) - 1
        while not self._stands[slot]:
            slot -= 1
        return self._numbers[slot]

    def position(self, number: int) -> int:
        """1 for the first."""
        slot = self._slots[number]
        block = slot // BLOCK
        return sum(self._counts[:block]) + sum(self._stands[block * BLOCK : slot]) + 1
