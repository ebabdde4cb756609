"""The wall clock of a machine, set by libfaketime for the processes of a test; their monotonic clock goes on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


class Machine:
    """The wall clock of the daemon's machine, in seconds away from the true time."""

    def __init__(self, folder: Path) -> None:
        found = find_spec("libfaketime")
        assert found is not None
        assert found.origin is not None
        library = Path(found.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
        self._file = folder / "faketime"
        self.set_clock(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "TICKETD_RATE_LIMITS_ENABLED": "false",
            "TICKETD_LOG_FORMAT": "json",
        }

    def set_clock(self, seconds: int) -> None:
        """Sets the clock so far ahead of the true time, in one piece: the daemon reads the file all the time."""
        made = self._file.with_suffix(".new")
        made.write_text(f"{seconds:+d}\n")
        made.rename(self._file)

    @staticmethod
    def forget(pid: int) -> None:
        """Removes what libfaketime keeps in memory for a process that was killed, and so could not do it itself."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)
