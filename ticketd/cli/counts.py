"""How many of something, as a person says it."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """``1 ticket``, ``2 tickets``; of a thing whose plural has an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
