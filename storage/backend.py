"""What an engine must bring along: consistent views, durable application of one batch, and how much room is left.

Everything else (overlays, group commit, versions, the change log) is shared code above this protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from storage.engine import Key, Reader


class View(Reader, Protocol):
    """A consistent view of everything; scans may span partitions. Open from the moment it is handed out."""

    def close(self) -> None:
        """Lets go of the view; twice is no error. Reading from it afterwards raises."""


class Backend(Protocol):
    """One ordered store of bytes. ``apply`` is called from one thread only; ``view`` from any."""

    @property
    def place(self) -> str:
        """Where the data is, for messages to the operator."""

    def view(self) -> View:
        """A view of the last commit. Refuses with StorageError what cannot be read."""

    def apply(
        self,
        puts: Sequence[tuple[Key, bytes]],
        deletes: Sequence[Key],
        staged: Callable[[], None] = lambda: None,
    ) -> None:
        """Writes one batch, both lists in key order and without a key in common; returns once it is durable.

        Calls ``staged`` once it has done all but wait for the disk. Raises StorageFull if there is no room and nothing
        was changed. Whatever else it raises leaves the outcome unknown, and the engine above stops for good.
        """

    def room_bytes(self) -> int:
        """How much may still be written before the reserve is touched that is kept for deletions; may be negative."""

    def disk_room_bytes(self) -> int:
        """By how much the free space of the disk is above what must stay free; negative if it is below. Asked often."""

    def used_bytes(self) -> int:
        """How much of the reserved space is in use."""

    def map_bytes(self) -> int:
        """The space that was reserved."""

    def close(self) -> None:
        """Lets go of the files; twice is no error."""
