from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.data_folder import LOCK_FILE, STORE_FILE, DataFolder, check_folder, exposures, owner_pid
from storage.engine import StorageError
from tests.storage.permissions import as_nobody, needs_another_user, world_folder
from ticketd.demo.demo import KEY_FILE
from ticketd.places import OUTBOX_FOLDER, SANDBOX_FILE, SOCKET_FILE

HOLD = """
import sys, time
from pathlib import Path
from storage.data_folder import DataFolder
folder = DataFolder.open(Path(sys.argv[1]))
print("owned", flush=True)
sys.stdin.read()
"""


def test_a_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with DataFolder.open(path) as folder:
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
        assert (path / LOCK_FILE).stat().st_mode & 0o777 == 0o600
        assert folder.store_path == path / "ticketd.lmdb"


def test_a_folder_that_is_there_keeps_its_mode_and_files(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o750)
    (path / STORE_FILE).touch()
    (path / "mine").write_text("mine")
    DataFolder.open(path).close()
    assert path.stat().st_mode & 0o777 == 0o750
    assert (path / "mine").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o755])
def test_a_folder_that_is_open_to_others_is_told_with_what_to_type(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my data"
    assert exposures(path) == []
    path.mkdir(mode=0o700)
    store = path / STORE_FILE
    store.touch(mode=0o600)
    assert exposures(path) == []
    path.chmod(mode)
    (told,) = exposures(path)
    assert told.startswith(f"{path} is open to other users (mode {mode:04o})")
    assert told.endswith(f": type chmod 700 '{path}'")
    path.chmod(0o700)
    store.chmod(0o640)
    (told,) = exposures(path)
    assert told.startswith(f"{store} is open to other users (mode 0640)")
    assert told.endswith(f": type chmod 600 '{store}'")


def test_a_second_owner_in_the_same_process_is_refused_until_the_first_gives_up(tmp_path: Path) -> None:
    first = DataFolder.open(tmp_path)
    assert owner_pid(tmp_path) == os.getpid()
    with pytest.raises(StorageError, match=f"{tmp_path} is in use by process {os.getpid()}$"):
        DataFolder.open(tmp_path)
    first.close()
    first.close()
    assert owner_pid(tmp_path) is None
    DataFolder.open(tmp_path).close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_another_process_owns_it_until_it_ends_however_it_ends(tmp_path: Path, end: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        assert owner_pid(tmp_path) == holder.pid
        with pytest.raises(StorageError, match=f"in use by process {holder.pid}$"):
            DataFolder.open(tmp_path)
        holder.send_signal(end)
        holder.wait()
    assert owner_pid(tmp_path) is None
    DataFolder.open(tmp_path).close()


def test_somebody_who_looks_for_the_owner_does_not_pass_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataFolder.open(tmp_path).close()
    looking = os.open(tmp_path / LOCK_FILE, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    monkeypatch.setattr("storage.data_folder.time.sleep", lambda seconds: os.close(looking))
    DataFolder.open(tmp_path).close()


def test_an_owner_that_left_no_number_is_another_process(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path):
        os.truncate(tmp_path / LOCK_FILE, 0)
        assert owner_pid(tmp_path) == 0
        with pytest.raises(StorageError, match="in use by another process"):
            DataFolder.open(tmp_path)


def test_a_lock_file_left_behind_does_not_bind(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("99999999999999\n")
    with DataFolder.open(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_missing_folder_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with pytest.raises(StorageError, match=f"{path} cannot be used: it does not exist"):
        DataFolder.open(path, create=False)
    assert not path.exists()
    with pytest.raises(StorageError, match=f"its parent {path} does not exist"):
        DataFolder.open(path / "deeper")
    DataFolder.open(path).close()
    DataFolder.open(path, create=False).close()


@pytest.mark.parametrize("create", [False, True])
def test_a_file_is_no_folder(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(StorageError, match=f"{path} is not a folder"):
        DataFolder.open(path, create=create)
    with pytest.raises(StorageError, match="is not a folder"):
        check_folder(path / "data", create=create)


@pytest.mark.parametrize("more", [0, 1])
def test_too_little_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    real = os.statvfs(tmp_path)
    monkeypatch.setattr("storage.data_folder.os.statvfs", lambda path: real)
    free = real.f_bavail * real.f_frsize
    if more:
        with pytest.raises(
            StorageError, match=f"{free} bytes free on its disk; at least {free + 1} are needed"
        ):
            DataFolder.open(tmp_path, min_free_bytes=free + 1)
        assert owner_pid(tmp_path) is None
    else:
        DataFolder.open(tmp_path, min_free_bytes=free).close()


@pytest.mark.parametrize("name", ["notes.txt", ".profile", "ticketd.lmdb.old", "sandbox", "ticketd"])
def test_a_folder_of_other_things_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    (tmp_path / OUTBOX_FOLDER).mkdir()
    with pytest.raises(
        StorageError, match=f"^the folder {tmp_path} is not empty and holds no store of ticketd's$"
    ):
        DataFolder.open(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name, OUTBOX_FOLDER}
    (tmp_path / STORE_FILE).touch()
    DataFolder.open(tmp_path).close()


def test_what_an_earlier_start_made_is_not_foreign(tmp_path: Path) -> None:
    for name in (LOCK_FILE, f"{STORE_FILE}-lock", SOCKET_FILE, KEY_FILE, SANDBOX_FILE, f"{SANDBOX_FILE}-wal"):
        (tmp_path / name).touch()
    for name in (OUTBOX_FOLDER, "lost+found"):
        (tmp_path / name).mkdir()
    DataFolder.open(tmp_path).close()


@needs_another_user
def test_a_folder_that_may_not_be_written_or_entered_is_refused() -> None:
    with world_folder() as folder:
        readable = folder / "readable"
        readable.mkdir(mode=0o755)
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with as_nobody():
            with pytest.raises(StorageError, match=f"{readable} cannot be written: Permission denied"):
                DataFolder.open(readable)
            with pytest.raises(StorageError, match=f"{closed} cannot be used: Permission denied"):
                DataFolder.open(closed)
            with pytest.raises(StorageError, match="new cannot be used: Permission denied"):
                DataFolder.open(readable / "new")
