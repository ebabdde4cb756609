"""A store that fills up for real, at a small map: what is refused, what goes on, and that it recovers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from storage.engine import Command, StorageFull, Transaction
from storage.keys import pack_key, prefix_range
from storage.lmdb_engine import open_lmdb
from storage.writer import WritingEngine
from tests.storage.stores import HALL, MIB, HandClock, make_engine, put_command, running

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
