"""Objects and lists of an event file: which members they have, and where each value stands.

Here a reader's complaint gets its place. What the members mean is the business of those who ask for them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from ticketd.event_file.bounds import Range
from ticketd.event_file.faults import Faults, member_path, shown
from ticketd.event_file.values import Reader, Unreadable, kind_of

T = TypeVar("T")


class Members:
    """The members of the object at ``where``. What cannot be read is noted in ``faults`` and answered by a stand-in."""

    def __init__(self, faults: Faults, where: str, values: Mapping[str, object]) -> None:
        self.faults = faults
        self.where = where
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def path(self, name: str) -> str:
        """The place of a member."""
        return member_path(self.where, name)

    def fault(self, name: str, message: str) -> None:
        """Notes a fault of a member."""
        self.faults.add(self.path(name), message)

    def value(self, name: str) -> object:
        """A member as it stands; None if it is missing."""
        return self._values.get(name)

    def required(self, name: str, read: Reader[T]) -> T | None:
        """A member that must be there; None if it is not, or cannot be read."""
        if name not in self._values:
            self.fault(name, "is missing")
            return None
        return self._read(name, read)

    def optional(self, name: str, read: Reader[T], default: T) -> T:
        """A member that may be left out, but not be null."""
        if name not in self._values:
            return default
        found = self._read(name, read)
        return default if found is None else found

    def nullable(self, name: str, read: Reader[T]) -> T | None:
        """A member that may be left out or be null, which is the same."""
        if self._values.get(name) is None:
            return None
        return self._read(name, read)

    def nested(self, name: str, known: Collection[str]) -> Members | None:
        """A member that must be there and be an object; None if it is not."""
        if name not in self._values:
            self.fault(name, "is missing")
            return None
        return open_object(self.faults, self.path(name), self._values[name], known)

    def _read(self, name: str, read: Reader[T]) -> T | None:
        try:
            return read(self._values[name])
        except Unreadable as error:
            self.fault(name, str(error))
            return None


def open_object(faults: Faults, where: str, value: object, known: Collection[str] | None) -> Members | None:
    """The members of ``value``; None, with a fault noted, if it is no object.

    Every member that is not in ``known`` is a fault; None for ``known`` lets all pass.
    """
    if not isinstance(value, dict):
        faults.add(where, f"must be an object, not {kind_of(value)}")
        return None
    if known is not None:
        for name in value:
            if name not in known:
                # Looking for the nearest name is not free: not for faults that are only counted.
                hint = "" if faults.full else did_you_mean(name, known)
                faults.add(member_path(where, name), f"is not a field of the event file{hint}")
    return Members(faults, where, value)


def list_items(faults: Faults, where: str, value: object, bounds: Range) -> list[object]:
    """The items of a list, at most ``bounds.most``; no list at all, too few and too many are faults."""
    if not isinstance(value, list):
        faults.add(where, f"must be a list, not {kind_of(value)}")
        return []
    if len(value) < bounds.least:
        faults.add(
            where, "must not be empty" if bounds.least == 1 else f"must have at least {bounds.least} items"
        )
    elif len(value) > bounds.most:
        faults.add(where, f"must have at most {bounds.most} items, not {len(value)}")
    return value[: bounds.most]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause with the known name that is nearest to ``name``; empty if none is near."""
    near = difflib.get_close_matches(name[:64], list(known), n=1)
    return f"; did you mean {shown(near[0])}?" if near else ""


class Unique:
    """Notes what stands twice in one list. ``noun`` names it in the message."""

    def __init__(self, faults: Faults, noun: str) -> None:
        self._faults = faults
        self._noun = noun
        self._first: dict[object, str] = {}

    def check(self, where: str, value: object, named: str) -> bool:
        """Whether ``value``, shown as ``named``, is new; if not, a fault at ``where`` tells where it stood first."""
        first = self._first.setdefault(value, where)
        if first == where:
            return True
        self._faults.add(where, f"{self._noun} {named} is repeated; it stands first at {first}")
        return False
