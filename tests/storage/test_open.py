from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from config.settings import StorageSettings
from storage.data_folder import owner_pid
from storage.engine import StorageError
from storage.keys import pack_key
from storage.open import open_engine, open_inline_engine, open_reader
from storage.writer import WritingEngine
from tests.storage.stores import CODEC, HALL, MIB, HandClock, count_command, put_command, running

SETTINGS = StorageSettings(map_size_bytes=64 * MIB)
KEY = pack_key(HALL, 1, 1)


async def test_the_daemon_owns_its_folder_while_it_is_open(tmp_path: Path) -> None:
    with open_engine(tmp_path, SETTINGS, HandClock(), CODEC) as engine:
        assert owner_pid(tmp_path) == os.getpid()
        async with running(engine):
            assert (await engine.submit(count_command())).result == 1
        with (
            pytest.raises(StorageError, match="in use by process"),
            open_inline_engine(tmp_path, SETTINGS, HandClock(), CODEC),
        ):
            pass
    assert owner_pid(tmp_path) is None


async def test_tools_write_inline_and_read_without_owning(tmp_path: Path) -> None:
    with open_inline_engine(tmp_path, SETTINGS, HandClock(), CODEC) as engine:
        await engine.submit(put_command(KEY, b"1", event="one"))
    with open_reader(tmp_path, SETTINGS, HandClock(), CODEC) as reader:
        assert owner_pid(tmp_path) is None
        with reader.snapshot() as snapshot:
            assert snapshot.get(KEY) == b"1"
        assert [change.event for change in reader.changes(HALL, 0) or []] == ["one"]


def test_reading_where_there_is_no_store_is_refused_and_makes_none(tmp_path: Path) -> None:
    for path, message in ((tmp_path, "holds no store"), (tmp_path / "no", "does not exist")):
        with pytest.raises(StorageError, match=message), open_reader(path, SETTINGS, HandClock(), CODEC):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opens", [open_engine, open_inline_engine])
@pytest.mark.parametrize(("left", "grows"), [(-1, False), (0, True), (1, True)])
async def test_the_disk_is_watched_while_the_store_is_open(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    opens: Callable[..., AbstractContextManager[WritingEngine]],
    left: int,
    grows: bool,
) -> None:
    kept = SETTINGS.min_free_bytes
    monkeypatch.setattr("storage.free_space.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("storage.free_space.free_bytes", lambda _: kept)
    with opens(tmp_path, SETTINGS, HandClock(), CODEC) as engine:
        async with running(engine):
            await engine.submit(put_command(KEY, b"1"))
            monkeypatch.setattr("storage.free_space.free_bytes", lambda _: kept + left)
            assert engine.takes_growth() == grows


@pytest.mark.parametrize("inline", [False, True])
def test_a_store_that_is_refused_leaves_the_folder_free(tmp_path: Path, inline: bool) -> None:
    (tmp_path / "ticketd.lmdb").write_text("something else")
    opens = open_inline_engine if inline else open_engine
    with (
        pytest.raises(StorageError, match="is not a ticketd store"),
        opens(tmp_path, SETTINGS, HandClock(), CODEC),
    ):
        pass
    assert owner_pid(tmp_path) is None
