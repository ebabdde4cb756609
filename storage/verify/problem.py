"""What verification finds."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong: the ``invariant`` that does not hold, ``where`` in the store, and a sentence."""

    invariant: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text} [{self.invariant}]"
