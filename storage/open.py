"""Opening the store of a data folder: the one place that says which engine stands behind the seam."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.settings import StorageSettings
from storage.clock import Clock
from storage.data_folder import STORE_FILE, DataFolder, check_folder
from storage.engine import EventCodec, StorageError
from storage.lmdb_engine import open_lmdb
from storage.snapshots import StoreReads
from storage.writer import InlineEngine, ThreadedEngine, WriterLimits


@contextmanager
def open_engine(
    data: Path, settings: StorageSettings, clock: Clock, codec: EventCodec
) -> Iterator[ThreadedEngine]:
    """The daemon's engine over the folder ``data``, which is made if need be and owned until the block ends.

    Its ``run`` must be started in a nursery before anything is submitted. Refuses with StorageError what
    ``DataFolder.open`` and ``open_lmdb`` refuse, in that order.
    """
    with DataFolder.open(data, min_free_bytes=settings.min_free_bytes) as folder:
        backend = open_lmdb(
            folder.store_path, settings.map_size_bytes, min_free_bytes=settings.min_free_bytes
        )
        try:
            limits = WriterLimits(batch_max=settings.batch_max, queue_max=settings.queue_max)
            yield ThreadedEngine(backend, clock, codec, limits)
        finally:
            backend.close()


@contextmanager
def open_inline_engine(
    data: Path, settings: StorageSettings, clock: Clock, codec: EventCodec, *, synced: bool = True
) -> Iterator[InlineEngine]:
    """The same without a thread: for tools that change a store while no daemon runs, and for simulations.

    ``synced=False`` gives up durability and is for simulations alone. Refuses what ``open_engine`` refuses.
    """
    with DataFolder.open(data, min_free_bytes=settings.min_free_bytes) as folder:
        backend = open_lmdb(
            folder.store_path,
            settings.map_size_bytes,
            synced=synced,
            min_free_bytes=settings.min_free_bytes,
        )
        try:
            yield InlineEngine(backend, clock, codec)
        finally:
            backend.close()


@contextmanager
def open_reader(
    data: Path, settings: StorageSettings, clock: Clock, codec: EventCodec
) -> Iterator[StoreReads]:
    """What reads the store of the folder ``data``, whether or not a daemon runs on it; owns and changes nothing.

    Refuses with StorageError a missing folder, one without a store, and what ``open_lmdb`` refuses.
    """
    check_folder(data)
    path = data / STORE_FILE
    if not path.exists():
        raise StorageError(f"the data folder {data} holds no store")
    backend = open_lmdb(path, settings.map_size_bytes, read_only=True)
    try:
        yield StoreReads(backend, clock, codec)
    finally:
        backend.close()
