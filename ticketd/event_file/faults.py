"""What is wrong with an event file: each fault with its place, all of them told at once.

The collector only: what is a fault is decided by those who read.
"""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from ticketd.event_file.bounds import MAX_FAULTS

_SHOWN_CHARACTERS: Final = 60
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Fault(msgspec.Struct, frozen=True):
    """One fault. ``where`` is a path such as ``sections[2].rows[0].seats[5]``, or a line and column, or ``file``."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class EventFileInvalid(ValueError):
    """The file is refused. ``faults`` holds the first ``MAX_FAULTS`` in reading order, ``more`` how many came after."""

    def __init__(self, faults: tuple[Fault, ...], more: int = 0) -> None:
        super().__init__(faults, more)
        self.faults = faults
        self.more = more

    def __str__(self) -> str:
        lines = [str(fault) for fault in self.faults]
        if self.more:
            lines.append(f"and {self.more} more")
        return "\n".join(lines)


class Faults:
    """Collects faults in reading order; past ``MAX_FAULTS`` they are only counted."""

    def __init__(self) -> None:
        self._found: list[Fault] = []
        self._more = 0

    @property
    def full(self) -> bool:
        """Whether another fault would only be counted."""
        return len(self._found) >= MAX_FAULTS

    def add(self, where: str, message: str) -> None:
        """Notes a fault; an empty ``where`` is the file as a whole."""
        if self.full:
            self._more += 1
        else:
            self._found.append(Fault(where or "file", message))

    @property
    def count(self) -> int:
        """How many were noted so far, those only counted among them."""
        return len(self._found) + self._more

    def refusal(self) -> EventFileInvalid:
        """The error that tells all that was noted."""
        return EventFileInvalid(tuple(self._found), self._more)


def path_step(name: str) -> str:
    """The step of a path from an object to its member: ``.city``, or ``["odd name"]``."""
    if len(name) <= _SHOWN_CHARACTERS and _PLAIN_NAME.fullmatch(name):
        return f".{name}"
    return f"[{shown(name)}]"


def member_path(where: str, name: str) -> str:
    """The place of a member of the object at ``where``; an empty ``where`` is the file as a whole."""
    return (where + path_step(name)).removeprefix(".")


def shown(text: str) -> str:
    """A text of the file, quoted, cut to a readable length; what cannot be printed is escaped."""
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
    return json.dumps(cut, ensure_ascii=not cut.isprintable())
