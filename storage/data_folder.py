"""The data folder: who owns it, whether it can be used, and where the store lies in it.

One process at a time owns a folder, by a lock that the system lets go of when the process ends, however it ends. A
folder that holds something else is not made a store of. The files that other parts keep in the folder are their own
affair; only their names are known here.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import time
from pathlib import Path
from types import TracebackType

from storage.engine import StorageError
from storage.free_space import free_bytes

STORE_FILE = "ticketd.lmdb"
LOCK_FILE = "ticketd.lock"

# What may lie in a folder before there is a store in it: what an earlier start made, and what a new file system has.
_OWN_NAMES = frozenset(
    {LOCK_FILE, f"{STORE_FILE}-lock", "operator.sock", "demo-api-key", "outbox", "lost+found"}
)
_OWN_PREFIX = "sandbox-payments.sqlite"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_PATIENCE = 5
_PAUSE_SECONDS = 0.01


class DataFolder:
    """An owned data folder; ``close`` or the end of the ``with`` block gives it up."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def open(cls, path: Path, *, create: bool = True, min_free_bytes: int = 0) -> DataFolder:
        """Takes the folder for this process; makes it, readable by its owner alone, if ``create`` is set.

        The folder that it is to lie in must exist. Refuses with StorageError, in this order: a folder that is missing
        or cannot be made, something that is no folder, one that holds other things and no store, one that cannot be
        written, one that another process owns (named by its id), less than ``min_free_bytes`` free.
        """
        check_folder(path, create=create)
        _check_not_foreign(path)
        lock = _open_lock(path)
        try:
            _take_lock(path, lock)
            _check_free(path, min_free_bytes)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    @property
    def store_path(self) -> Path:
        """The store's file."""
        return self.path / STORE_FILE

    def close(self) -> None:
        """Gives the folder up; twice is no error."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_folder(path: Path, *, create: bool = False) -> None:
    """Refuses with StorageError a folder that is missing (unless it can be made), no folder, or not accessible."""
    try:
        if create:
            path.mkdir(mode=0o700, exist_ok=True)
        with os.scandir(path):
            return
    except FileNotFoundError as error:
        missing = f"its parent {path.parent} does not exist" if create else "it does not exist"
        raise StorageError(f"the data folder {path} cannot be used: {missing}") from error
    except (NotADirectoryError, FileExistsError) as error:
        raise StorageError(f"{path} is not a folder") from error
    except OSError as error:
        raise StorageError(f"the data folder {path} cannot be used: {error.strerror}") from error


def exposures(path: Path) -> list[str]:
    """A sentence for the folder and for the store in it if others than the owner may get at it, with what to type."""
    found = []
    for file, mode_to_be in ((path, "700"), (path / STORE_FILE, "600")):
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        if mode & _OTHERS:
            found.append(
                f"{file} is open to other users (mode {mode:04o}), and the keys that sign tokens and tickets are in "
                f"it: type chmod {mode_to_be} {shlex.quote(str(file))}"
            )
    return found


def owner_pid(path: Path) -> int | None:
    """The process that owns the folder at this moment, or None; 0 if it is owned by one that left no number."""
    try:
        lock = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid_in(lock)
    finally:
        os.close(lock)
    return None


def _check_not_foreign(path: Path) -> None:
    try:
        names = set(os.listdir(path))
    except OSError as error:
        raise StorageError(f"the data folder {path} cannot be used: {error.strerror}") from error
    foreign = {name for name in names - _OWN_NAMES if not name.startswith(_OWN_PREFIX)}
    if foreign and STORE_FILE not in names:
        raise StorageError(f"the folder {path} is not empty and holds no store of ticketd's")


def _open_lock(path: Path) -> int:
    try:
        return os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"the data folder {path} cannot be written: {error.strerror}") from error


def _take_lock(path: Path, lock: int) -> None:
    try:
        _lock_exclusively(lock)
    except BlockingIOError as error:
        pid = _pid_in(lock)
        owner = f"process {pid}" if pid else "another process"
        raise StorageError(f"the data folder {path} is in use by {owner}") from error
    except OSError as error:
        raise StorageError(f"the data folder {path} cannot be locked: {error.strerror}") from error
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        raise StorageError(f"the data folder {path} cannot be written: {error.strerror}") from error


def _lock_exclusively(lock: int) -> None:
    # Whoever looks for the owner holds the lock for an instant, which must not pass for owning the folder.
    for _ in range(_PATIENCE):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _pid_in(lock: int) -> int:
    text = os.pread(lock, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _check_free(path: Path, min_free_bytes: int) -> None:
    free = free_bytes(path)
    if free < min_free_bytes:
        raise StorageError(
            f"the data folder {path} has {free} bytes free on its disk; at least {min_free_bytes} are needed"
        )
