"""A store that fills up for real, at a small map, and one whose disk does: what is refused, what goes on, and that it
recovers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from storage.engine import Command, StorageFull, Transaction
from storage.keys import pack_key, prefix_range
from storage.lmdb_engine import open_lmdb
from storage.writer import WritingEngine
from tests.storage.stores import HALL, MIB, HandClock, faulty_backend, make_engine, put_command, running

VALUE = b"x" * 1000


async def fill(engine: WritingEngine, first: int, *, vital: bool = False) -> int:
    """Puts pairs until one is refused; how many went in."""
    number = first
    while True:
        put = put_command(pack_key(HALL, 1, number), VALUE, event=number)
        try:
            await engine.submit(Command("put", (HALL,), put.run, may_use_reserve=vital))
        except StorageFull:
            return number - first
        number += 1


async def delete_all(engine: WritingEngine, count: int) -> None:
    """Deletes one by one, each deletion with an event of its own, as an expiry would."""

    def delete(number: int) -> Command[None]:
        def run(tx: Transaction) -> None:
            tx.delete(pack_key(HALL, 1, number))
            tx.emit(HALL, number)

        return Command("delete", (HALL,), run)

    for number in range(count):
        await engine.submit(delete(number))


@pytest.mark.parametrize("form", ["threaded", "inline"])
@pytest.mark.parametrize("map_mib", [1, 4])
async def test_a_full_store_refuses_growth_goes_on_deleting_and_recovers(
    tmp_path: Path, form: str, map_mib: int
) -> None:
    backend = open_lmdb(tmp_path / "store", map_mib * MIB, synced=False)
    async with running(make_engine(form, backend, HandClock())) as engine:
        first = await fill(engine, 0)
        assert first * len(VALUE) > map_mib * MIB / 2
        assert await fill(engine, first) == 0
        with engine.snapshot() as snapshot:
            assert len(list(snapshot.scan(pack_key(HALL, 1), pack_key(HALL, 2)))) == first
        await delete_all(engine, first)
        again = await fill(engine, 0)
        assert again > first / 2
    backend.close()


async def test_what_may_use_the_reserve_fills_the_map_to_its_end_and_the_rest_is_kept(tmp_path: Path) -> None:
    backend = open_lmdb(tmp_path / "store", MIB, synced=False)
    async with running(make_engine("threaded", backend, HandClock())) as engine:
        plain = await fill(engine, 0)
        vital = await fill(engine, plain, vital=True)
        assert vital > 0
        with engine.snapshot() as snapshot:
            assert len(list(snapshot.scan(*prefix_range(HALL, 1)))) == plain + vital
    backend.close()


async def test_many_at_once_against_a_full_map_each_get_their_own_answer(tmp_path: Path) -> None:
    backend = open_lmdb(tmp_path / "store", MIB, synced=False)
    stored: set[int] = set()
    refused: set[int] = set()

    async with running(make_engine("threaded", backend, HandClock())) as engine:

        async def one(number: int) -> None:
            put = put_command(pack_key(HALL, 1, number), b"x" * 20000, event=number)
            try:
                await engine.submit(Command("vital", (HALL,), put.run, may_use_reserve=True))
            except StorageFull:
                refused.add(number)
            else:
                stored.add(number)

        async with trio.open_nursery() as nursery:
            for number in range(90):
                nursery.start_soon(one, number)
        with engine.snapshot() as snapshot:
            found = {int.from_bytes(key[-8:], "big") for key, _ in snapshot.scan(*prefix_range(HALL, 1))}
            assert found == stored
            assert snapshot.version(HALL) == len(stored)
    assert len(stored) > 10
    assert len(refused) > 10
    backend.close()


@pytest.mark.parametrize("form", ["threaded", "inline"])
@pytest.mark.parametrize(("disk_room", "grows"), [(-1, False), (0, True), (1, True)])
async def test_a_disk_with_less_free_than_is_to_be_kept_refuses_growth_alone(
    tmp_path: Path, form: str, disk_room: int, grows: bool
) -> None:
    old, new, vital = (pack_key(HALL, 1, number) for number in range(3))

    def delete(tx: Transaction) -> None:
        tx.delete(old)
        tx.emit(HALL, "gone")

    with faulty_backend(tmp_path) as backend:
        async with running(make_engine(form, backend, HandClock())) as engine:
            await engine.submit(put_command(old, VALUE))
            backend.disk_room = disk_room
            assert engine.takes_growth() == grows
            assert engine.is_running()
            if grows:
                await engine.submit(put_command(new, VALUE, event="new"))
            else:
                with pytest.raises(StorageFull, match="kept for releases"):
                    await engine.submit(put_command(new, VALUE, event="new"))
            await engine.submit(Command("delete", (HALL,), delete))
            put = put_command(vital, VALUE, event="vital")
            await engine.submit(Command("vital", (HALL,), put.run, may_use_reserve=True))
            with engine.snapshot() as snapshot:
                assert [snapshot.get(key) is not None for key in (old, new, vital)] == [False, grows, True]
            backend.disk_room = 0
            assert engine.takes_growth()
            await engine.submit(put_command(new, VALUE))


async def test_a_disk_that_fills_during_a_commit_refuses_what_comes_after_it(tmp_path: Path) -> None:
    with faulty_backend(tmp_path) as backend:
        async with running(make_engine("threaded", backend, HandClock())) as engine:

            def fill_disk(*_: object) -> None:
                backend.disk_room = -1

            backend.before_apply = fill_disk
            await engine.submit(put_command(pack_key(HALL, 1, 1), VALUE))
            with pytest.raises(StorageFull):
                await engine.submit(put_command(pack_key(HALL, 1, 2), VALUE))


@pytest.mark.parametrize(("room", "grows"), [(-1, False), (0, False), (1, True)])
async def test_a_map_down_to_its_reserve_takes_no_growth(tmp_path: Path, room: int, grows: bool) -> None:
    with faulty_backend(tmp_path) as backend:
        engine = make_engine("threaded", backend, HandClock())
        backend.room = room
        assert not engine.takes_growth()
        async with running(engine):
            assert engine.takes_growth() == grows
        assert not engine.takes_growth()
