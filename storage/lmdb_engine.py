"""LMDB behind the engine seam: the only file that knows LMDB.

One environment, one unnamed database, one file and its lock file. True here: the map is reserved at the start and never
changed while open; every commit is synced, metadata too; nothing is handed out that points into the map; a view is
closed before the next commit begins; a commit is done only if the file still stands at its path. No batching, no
versions, no rule.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Never, cast

import lmdb
import msgspec

from storage.change_log import FORMAT_KEY
from storage.engine import Key, StorageError, StorageFull
from storage.free_space import FreeSpace

FORMAT = 1
_MARKER_SCHEMA = b"\x01"
_MAX_READERS = 1024
_SPARE_VIEWS = 16
_LARGEST_RESERVE_BYTES = 64 * 1024 * 1024
_RESERVE_SHARE = 8


class StoreFormat(msgspec.Struct, frozen=True):
    """What a store says about itself: whose it is, in which format, and which engine made it."""

    name: str
    format: int
    engine: str


class LmdbView:
    """One LMDB read transaction. Everything that it answers is copied out of the map.

    The slot that a reader takes is free again when the transaction's object is gone, not when it has ended; so a closed
    view lets go of it, however long somebody keeps the view or one of its scans.
    """

    __slots__ = ("_cursor", "_end", "_get")

    def __init__(self, txn: lmdb.Transaction) -> None:
        # Without buffers=True it answers bytes alone, which its declared type does not say.
        self._get = cast("Callable[[Key], bytes | None]", txn.get)
        self._cursor: Callable[[], lmdb.Cursor] = txn.cursor
        self._end = txn.abort

    def get(self, key: Key) -> bytes | None:
        try:
            return self._get(key)
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def scan(
        self, lo: Key, hi: Key, limit: int | None = None, reverse: bool = False
    ) -> Iterator[tuple[Key, bytes]]:
        if limit is not None and limit <= 0:
            return iter(())
        pairs = self._backwards(lo, hi) if reverse else self._forwards(lo, hi)
        return pairs if limit is None else islice(pairs, limit)

    def close(self) -> None:
        self._end()
        self._get = self._cursor = _read_closed
        self._end = _nothing

    def _forwards(self, lo: Key, hi: Key) -> Iterator[tuple[Key, bytes]]:
        try:
            cursor = self._cursor()
            if not cursor.set_range(lo):
                return
            for pair in cast("Iterator[tuple[Key, bytes]]", cursor.iternext()):
                if pair[0] >= hi:
                    return
                yield pair
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def _backwards(self, lo: Key, hi: Key) -> Iterator[tuple[Key, bytes]]:
        try:
            cursor = self._cursor()
            # The last pair before hi: one step back from the first at or after it, or the very last of all.
            if not (cursor.prev() if cursor.set_range(hi) else cursor.last()):
                return
            for pair in cast("Iterator[tuple[Key, bytes]]", cursor.iterprev()):
                if pair[0] < lo:
                    return
                yield pair
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def __enter__(self) -> LmdbView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LmdbBackend:
    """The backend over one open LMDB file. ``reserve_bytes`` of the map are kept for deletions, as are
    ``min_free_bytes`` of the disk."""

    def __init__(self, env: lmdb.Environment, path: Path, reserve_bytes: int, min_free_bytes: int) -> None:
        self._env = env
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._min_free_bytes = min_free_bytes
        self._free = FreeSpace(path)
        self._map_bytes = int(env.info()["map_size"])
        self._identity = _identity(path)

    @property
    def place(self) -> str:
        return str(self._path)

    def view(self) -> LmdbView:
        try:
            return LmdbView(self._env.begin())
        except lmdb.Error as error:
            raise _unreadable(error) from error

    def apply(
        self,
        puts: Sequence[tuple[Key, bytes]],
        deletes: Sequence[Key],
        staged: Callable[[], None] = lambda: None,
    ) -> None:
        try:
            with self._env.begin(write=True) as txn:
                for key in deletes:
                    txn.delete(key)
                if puts:
                    txn.cursor().putmulti(puts)
                staged()
        except (lmdb.MapFullError, lmdb.TxnFullError) as error:
            # LMDB reports both before it writes a new meta page: the commit before stands.
            raise StorageFull(f"the {self._map_bytes} bytes reserved for {self._path} are used up") from error
        self._check_is_there()

    def room_bytes(self) -> int:
        return self._map_bytes - self.used_bytes() - self._reserve_bytes

    def disk_room_bytes(self) -> int:
        return self._free.bytes() - self._min_free_bytes

    def used_bytes(self) -> int:
        stat = self._env.stat()
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] + 2
        return int(pages * stat["psize"])

    def map_bytes(self) -> int:
        return self._map_bytes

    def close(self) -> None:
        self._env.close()

    def _check_is_there(self) -> None:
        """Refuses with StorageError where the path names the file no more: what goes on to be written into a file that
        was removed, or whose file system was unmounted, ends with the process that has it open."""
        if _identity(self._path) != self._identity:
            raise StorageError(f"{self._path} was removed, replaced or unmounted while it was open")


def open_lmdb(
    path: Path,
    map_size_bytes: int,
    *,
    read_only: bool = False,
    synced: bool = True,
    min_free_bytes: int = 0,
) -> LmdbBackend:
    """Opens the store in the file ``path``, making it if it is not there and ``read_only`` is off.

    ``map_size_bytes`` is the address space reserved for it (the file itself grows only as it is used); an eighth of it,
    at most 64 MiB, is kept for deletions, as is what is free on the disk below ``min_free_bytes``. ``synced=False``
    gives up durability and is for simulations alone.
    Refuses with StorageError, in this order: a path that cannot be opened as a file for reading (and writing), a file
    that is not LMDB, a map smaller than the data, a file shorter than its data, an LMDB file that is not ours, a newer
    format.
    """
    _check_file(path, read_only)
    try:
        env = lmdb.open(
            str(path),
            subdir=False,
            map_size=map_size_bytes,
            readonly=read_only,
            sync=synced,
            metasync=synced,
            mode=0o600,
            create=not read_only,
            max_readers=_MAX_READERS,
            max_spare_txns=_SPARE_VIEWS,
        )
    except lmdb.Error as error:
        raise StorageError(_why_not_opened(path, error)) from error
    try:
        if not read_only:
            env.reader_check()
        _check_sizes(env, path, map_size_bytes)
        _check_format(env, path, read_only)
    except lmdb.Error as error:
        env.close()
        raise StorageError(f"{path} cannot be read as a store: {error}") from error
    except StorageError:
        env.close()
        raise
    reserve_bytes = min(_LARGEST_RESERVE_BYTES, map_size_bytes // _RESERVE_SHARE)
    return LmdbBackend(env, path, reserve_bytes, min_free_bytes)


def _read_closed(*_: object) -> Never:
    raise StorageError("the store cannot be read: the view was closed")


def _nothing() -> None:
    pass


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at the path: its device and number; None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _check_file(path: Path, read_only: bool) -> None:
    """The system's own reason, where the file or the place for it cannot be used; LMDB's is less clear."""
    flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
    for file in (path, path.with_name(path.name + "-lock")):
        if read_only and file != path:
            return  # LMDB does without the lock file where it cannot be written
        try:
            os.close(os.open(file, flags | os.O_CLOEXEC, 0o600))
        except OSError as error:
            use = "read" if read_only else "opened for writing"
            raise StorageError(f"{file} cannot be {use}: {error.strerror}") from error


def _check_sizes(env: lmdb.Environment, path: Path, map_size_bytes: int) -> None:
    stat, info = env.stat(), env.info()
    needed = (int(info["last_pgno"]) + 1) * stat["psize"]
    if map_size_bytes < needed:
        raise StorageError(
            f"{path} needs a map of at least {needed} bytes, but only {map_size_bytes} are configured"
        )
    # LMDB reads the file through memory: a page that is missing at its end would kill the process, not raise.
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    if stat["entries"] and path.stat().st_size < pages * stat["psize"]:
        raise StorageError(
            f"{path} is shorter than the data it should hold: it was cut off, or not copied whole"
        )


def _check_format(env: lmdb.Environment, path: Path, read_only: bool) -> None:
    with env.begin() as txn:
        stored = txn.get(FORMAT_KEY)
        entries = txn.stat()["entries"]
    if stored is None:
        if entries or read_only:
            raise StorageError(f"{path} is not a ticketd store")
        _write_format(env, path)
        return
    try:
        if stored[:1] != _MARKER_SCHEMA:
            raise msgspec.ValidationError(f"schema {stored[:1].hex()}")
        marker = msgspec.msgpack.decode(stored[1:], type=StoreFormat)
    except msgspec.MsgspecError as error:
        raise StorageError(
            f"{path} was written by a newer version of ticketd, or is damaged ({error})"
        ) from error
    if marker.name != "ticketd":
        raise StorageError(f"{path} is not a ticketd store")
    if marker.format > FORMAT:
        raise StorageError(
            f"{path} has format {marker.format}, written by a newer version of ticketd; this one reads up to {FORMAT}"
        )


def _write_format(env: lmdb.Environment, path: Path) -> None:
    engine = "lmdb " + ".".join(map(str, lmdb.version()))
    marker = StoreFormat("ticketd", FORMAT, engine)
    try:
        with env.begin(write=True) as txn:
            txn.put(FORMAT_KEY, _MARKER_SCHEMA + msgspec.msgpack.encode(marker))
    except lmdb.Error as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _why_not_opened(path: Path, error: lmdb.Error) -> str:
    if isinstance(error, lmdb.InvalidError):
        return f"{path} is not a ticketd store"
    if isinstance(error, lmdb.VersionMismatchError):
        return f"{path} was written by an LMDB that this version of ticketd cannot read"
    return f"{path} cannot be opened as a store: {error}"


def _unreadable(error: lmdb.Error) -> StorageError:
    return StorageError(f"the store cannot be read: {error}")
