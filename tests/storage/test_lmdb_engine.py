from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import msgspec
import pytest

from storage.change_log import FORMAT_KEY
from storage.engine import Key, StorageError, StorageFull
from storage.keys import pack_key, prefix_range
from storage.lmdb_engine import FORMAT, LmdbBackend, StoreFormat, open_lmdb
from tests.storage.permissions import as_nobody, needs_another_user, world_folder
from tests.storage.stores import HALL, MIB, OTHER


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.lmdb"


@pytest.fixture
def backend(path: Path) -> Iterator[LmdbBackend]:
    backend = open_lmdb(path, 16 * MIB, synced=False)
    yield backend
    backend.close()


def hall(number: int) -> Key:
    return pack_key(HALL, number)


SLOTS = """
import sys
import lmdb
with lmdb.open(sys.argv[1], subdir=False, readonly=True, create=False) as env:
    print(env.readers())
"""


def reader_slots(path: Path) -> int:
    """Of this process, as another one that opens the store sees them."""
    read = subprocess.run(
        [sys.executable, "-c", SLOTS, str(path)], check=True, capture_output=True, text=True
    )
    return sum(line.split()[:1] == [str(os.getpid())] for line in read.stdout.splitlines())


def foreign_lmdb(path: Path, pairs: dict[bytes, bytes]) -> None:
    with lmdb.open(str(path), subdir=False, map_size=MIB) as env, env.begin(write=True) as txn:
        for key, value in pairs.items():
            txn.put(key, value)


def test_what_was_applied_is_read(backend: LmdbBackend) -> None:
    backend.apply([(hall(1), b"1"), (hall(2), b"2")], [])
    backend.apply([(hall(3), b"3")], [hall(1), hall(9)])
    view = backend.view()
    assert [view.get(hall(number)) for number in (1, 2, 3)] == [None, b"2", b"3"]
    view.close()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [None, -1, 0, 1, 2, 3, 4])
@pytest.mark.parametrize(("lo", "hi"), [(0, 9), (2, 4), (2, 5), (3, 4), (4, 4), (5, 2), (7, 9)])
def test_scans_in_both_directions(
    backend: LmdbBackend, lo: int, hi: int, limit: int | None, reverse: bool
) -> None:
    numbers = [2, 4, 6]
    backend.apply([(hall(number), b"x") for number in numbers], [])
    view = backend.view()
    meant = sorted((number for number in numbers if lo <= number < hi), reverse=reverse)
    found = [key for key, _ in view.scan(hall(lo), hall(hi), limit, reverse)]
    assert found == [hall(number) for number in (meant if limit is None else meant[: max(limit, 0)])]
    view.close()


def test_a_scan_backwards_from_past_the_last_pair_of_all(backend: LmdbBackend) -> None:
    backend.apply([(hall(1), b""), (pack_key(OTHER, 1), b"")], [])
    view = backend.view()
    assert [key for key, _ in view.scan(*prefix_range(OTHER), reverse=True)] == [pack_key(OTHER, 1)]
    assert [key for key, _ in view.scan(*prefix_range(HALL), reverse=True)] == [hall(1)]
    view.close()


def test_a_closed_view_raises_and_reads_nothing_else(backend: LmdbBackend) -> None:
    backend.apply([(hall(1), b"1"), (hall(2), b"2")], [])
    view = backend.view()
    value = view.get(hall(1))
    begun = view.scan(*prefix_range(HALL))
    next(begun)
    view.close()
    view.close()
    assert value == b"1"
    for read in (
        lambda: view.get(hall(1)),
        lambda: next(begun),
        lambda: next(view.scan(*prefix_range(HALL))),
    ):
        with pytest.raises(StorageError, match="cannot be read"):
            read()


def test_a_view_does_not_see_what_is_applied_later(backend: LmdbBackend) -> None:
    view = backend.view()
    backend.apply([(hall(1), b"1")], [])
    assert view.get(hall(1)) is None
    view.close()


def test_it_tells_when_it_has_only_to_wait_for_the_disk(backend: LmdbBackend) -> None:
    seen: list[bytes | None] = []

    def staged() -> None:
        view = backend.view()
        seen.append(view.get(hall(1)))
        view.close()

    backend.apply([(hall(1), b"1")], [], staged)
    assert seen == [None]
    with pytest.raises(StorageFull):
        backend.apply([(hall(number), b"x" * 60000) for number in range(400)], [], staged)
    assert seen == [None]


def test_a_map_that_is_full_is_told_and_nothing_of_the_batch_stands(path: Path) -> None:
    backend = open_lmdb(path, MIB, synced=False)
    backend.apply([(hall(0), b"first")], [])
    with pytest.raises(StorageFull, match=str(MIB)):
        backend.apply([(hall(number), b"x" * 60000) for number in range(40)], [hall(0)])
    view = backend.view()
    assert view.get(hall(0)) == b"first"
    assert view.get(hall(1)) is None
    view.close()
    backend.apply([(hall(1), b"x")], [])
    backend.close()


def test_the_room_shrinks_with_use_and_keeps_an_eighth(path: Path) -> None:
    backend = open_lmdb(path, 8 * MIB, synced=False)
    assert 7 * MIB - 64 * 1024 < backend.room_bytes() < 7 * MIB
    before = backend.used_bytes()
    backend.apply([(hall(number), b"x" * 60000) for number in range(10)], [])
    assert before + 600000 < backend.used_bytes() < before + 800000
    assert backend.room_bytes() == backend.map_bytes() - MIB - backend.used_bytes()
    backend.close()


def test_of_a_large_map_no_more_than_64_mib_are_kept(path: Path) -> None:
    backend = open_lmdb(path, 1024 * MIB, synced=False)
    assert backend.room_bytes() == (1024 - 64) * MIB - backend.used_bytes()
    assert path.stat().st_blocks * 512 < MIB
    backend.close()


@pytest.mark.parametrize("above", [-1, 0, 1])
def test_the_room_on_the_disk_is_what_is_free_above_what_is_to_be_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, above: int
) -> None:
    monkeypatch.setattr("storage.free_space.free_bytes", lambda _: 5 * MIB + above)
    backend = open_lmdb(path, MIB, synced=False, min_free_bytes=5 * MIB)
    assert backend.disk_room_bytes() == above
    backend.close()


def test_the_file_is_the_owners_alone(backend: LmdbBackend, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name("store.lmdb-lock").stat().st_mode & 0o777 == 0o600


READ = """
import sys
from pathlib import Path
from storage.lmdb_engine import open_lmdb
backend = open_lmdb(Path(sys.argv[1]), 16 * 1024 * 1024, read_only=True)
print(backend.view().get(bytes.fromhex(sys.argv[2])).decode())
"""


def test_closed_views_take_no_reader_slot_however_long_they_are_kept(
    backend: LmdbBackend, path: Path
) -> None:
    backend.apply([(hall(1), b"1"), (hall(2), b"2")], [])
    kept: list[object] = []
    for _ in range(5):
        view = backend.view()
        scan = view.scan(hall(0), hall(9))
        assert next(scan) == (hall(1), b"1")
        view.close()
        kept += [view, scan]
    assert reader_slots(path) == 1
    two = backend.view(), backend.view()
    assert reader_slots(path) == 2
    for view in two:
        view.close()


def test_closed_views_are_not_read(backend: LmdbBackend) -> None:
    backend.apply([(hall(1), b"1"), (hall(2), b"2")], [])
    view = backend.view()
    begun, not_begun = view.scan(hall(0), hall(9)), view.scan(hall(0), hall(9), reverse=True)
    next(begun)
    view.close()
    view.close()
    for read in (lambda: view.get(hall(1)), lambda: next(begun), lambda: next(not_begun)):
        with pytest.raises(StorageError, match="the store cannot be read"):
            read()


def test_another_process_reads_beside_the_writer(backend: LmdbBackend, path: Path) -> None:
    backend.apply([(hall(1), b"one")], [])
    command = [sys.executable, "-c", READ, str(path), hall(1).hex()]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "one\n"
    backend.apply([(hall(1), b"two")], [])
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "two\n"


def test_a_reader_changes_nothing(path: Path) -> None:
    open_lmdb(path, MIB).close()
    before = path.read_bytes()
    reader = open_lmdb(path, MIB, read_only=True)
    with pytest.raises(lmdb.ReadonlyError):
        reader.apply([(hall(1), b"")], [])
    reader.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\x00" + b"x" * 9000, b"\x00" * 8192])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_store_is_refused_and_left_alone(
    path: Path, content: bytes, read_only: bool
) -> None:
    path.write_bytes(content)
    with pytest.raises(StorageError, match=f"{path} is not a ticketd store"):
        open_lmdb(path, MIB, read_only=read_only)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [False, True])
def test_an_lmdb_file_of_somebody_else_is_refused(path: Path, read_only: bool) -> None:
    foreign_lmdb(path, {b"their": b"data"})
    with pytest.raises(StorageError, match="is not a ticketd store"):
        open_lmdb(path, MIB, read_only=read_only)


def marked(name: str, version: int) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(StoreFormat(name, version, "lmdb"))


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        (marked("ticketd", FORMAT + 1), f"has format {FORMAT + 1}, written by a newer version"),
        (marked("another", FORMAT), "is not a ticketd store"),
        (b"\x02" + marked("ticketd", FORMAT)[1:], "newer version of ticketd, or is damaged"),
        (b"\x01junk", "newer version of ticketd, or is damaged"),
        (b"", "newer version of ticketd, or is damaged"),
    ],
)
def test_a_marker_that_does_not_fit_is_refused(path: Path, marker: bytes, message: str) -> None:
    foreign_lmdb(path, {FORMAT_KEY: marker})
    with pytest.raises(StorageError, match=message):
        open_lmdb(path, MIB)


def test_the_format_that_is_known_is_opened(path: Path) -> None:
    foreign_lmdb(path, {FORMAT_KEY: marked("ticketd", FORMAT), b"x": b"y"})
    open_lmdb(path, MIB).close()


def test_a_map_that_is_too_small_is_refused(path: Path) -> None:
    backend = open_lmdb(path, 16 * MIB, synced=False)
    backend.apply([(hall(number), b"x" * 60000) for number in range(100)], [])
    backend.close()
    with pytest.raises(StorageError, match=r"needs a map of at least [0-9]+ bytes, but only 1048576"):
        open_lmdb(path, MIB)
    open_lmdb(path, 8 * MIB).close()


def test_a_file_that_was_cut_off_is_refused(path: Path) -> None:
    backend = open_lmdb(path, 16 * MIB, synced=False)
    backend.apply([(hall(number), b"x" * 60000) for number in range(100)], [])
    backend.close()
    os.truncate(path, 3 * MIB)
    with pytest.raises(StorageError, match="cut off, or not copied whole"):
        open_lmdb(path, 16 * MIB)


def test_the_same_file_is_not_opened_twice_by_one_process(backend: LmdbBackend, path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened as a store"):
        open_lmdb(path, MIB)


def test_a_reader_of_nothing_is_refused(path: Path) -> None:
    with pytest.raises(StorageError, match=f"{path} cannot be read: No such file"):
        open_lmdb(path, MIB, read_only=True)
    assert not path.exists()


def test_an_empty_file_becomes_a_store_but_is_none_yet(path: Path) -> None:
    path.touch()
    with pytest.raises(StorageError):
        open_lmdb(path, MIB, read_only=True)
    open_lmdb(path, MIB).close()
    open_lmdb(path, MIB, read_only=True).close()


@pytest.mark.parametrize(
    ("made", "reason"), [("folder", "Is a directory"), ("missing", "No such file or directory")]
)
def test_a_path_that_can_be_no_file_is_refused(tmp_path: Path, made: str, reason: str) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(StorageError, match=reason):
        open_lmdb(path if made == "folder" else tmp_path / "no" / "store", MIB)


@needs_another_user
def test_a_file_that_may_not_be_read_is_refused() -> None:
    with world_folder() as folder:
        path = folder / "store.lmdb"
        open_lmdb(path, MIB).close()
        with as_nobody():
            with pytest.raises(StorageError, match=f"{path} cannot be opened for writing: Permission denied"):
                open_lmdb(path, MIB)
            with pytest.raises(StorageError, match=f"{path} cannot be read: Permission denied"):
                open_lmdb(path, MIB, read_only=True)


@pytest.mark.parametrize("becomes", ["removed", "replaced"])
def test_a_commit_into_a_file_that_is_not_at_its_path_any_more_is_none(
    backend: LmdbBackend, path: Path, becomes: str
) -> None:
    """It would be durable for as long as the process lives."""
    backend.apply([(hall(1), b"1")], [])
    path.unlink()
    if becomes == "replaced":
        path.write_bytes(b"another's")
    with pytest.raises(StorageError, match="was removed, replaced or unmounted while it was open"):
        backend.apply([(hall(2), b"2")], [])
