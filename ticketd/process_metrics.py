"""What the process tells of itself, as metrics: its memory, its descriptors, its tasks. None of them may only grow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import trio

from ticketd.metrics import Reading

_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = "/proc/self/fd"
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def read_process() -> dict[str, Reading]:
    """Memory, descriptors and tasks at the moment of asking, the first two under the names that Prometheus has for
    them. To be called from within a task."""
    resident_pages = int(_STATM.read_text().split()[1])
    return {
        "process_resident_memory_bytes": Reading(
            "Resident memory, pages of the store that are in memory included.", resident_pages * _PAGE_BYTES
        ),
        # The one that lists them is open meanwhile.
        "process_open_fds": Reading("Open file descriptors.", len(os.listdir(_DESCRIPTORS)) - 1),
        "ticketd_tasks": Reading(
            "Tasks of the event loop that have not ended.", trio.lowlevel.current_statistics().tasks_living
        ),
    }
