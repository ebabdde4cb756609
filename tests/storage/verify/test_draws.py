"""Faults planted in a lobby, and in its draw."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.open import open_reader
from storage.overlay import Overlay
from storage.schema.draws import NO_RANK, drawn_places, no_ranks, pack_numbers, unpack_numbers
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import (
    DRAW,
    DRAWN_LEFT,
    DRAWN_ORDER,
    DRAWN_RANKS,
    ENTRIES,
    LOBBY,
    ROOM,
    SALE,
    event_of,
)
from storage.schema.records import EntryRecord, RoomRecord
from storage.schema.states import EntryState
from tests.storage.verify.good_store import Damage
from ticketd.domain.admission import advance_room
from ticketd.domain.draws import FinishDraw, KeepChunk, finish_draw, keep_chunk
from ticketd.domain.rooms import LeaveRoom, SetRoom, leave_room, set_room

NOBODY = EntryId(UUID(int=0xBAD))


@pytest.fixture
def drawn(good_store: Path) -> Iterator[Damage]:
    """The good store after its lobby was drawn: of three one left while it was, one came in."""
    settings = StorageSettings(map_size_bytes=256 * 1024 * 1024)
    with open_reader(good_store, settings, SystemClock(), EVENT_CODEC) as reads, reads.snapshot() as snapshot:
        sale = SALE.get(snapshot, Damage(Overlay(snapshot, 0, None)).lobby)
        assert sale is not None
        damage = Damage(Overlay(snapshot, sale.general_sale_start_ms, None))
        draw(damage)
        yield damage


def draw(damage: Damage) -> None:
    """Closes the list, lets one leave, draws, and lets one in."""
    tx, event_id = damage.tx, lobby_id(damage)
    set_room(tx, SetRoom(event_id=event_id, max_active=1))
    advance_room(tx, event_id, 100)
    record, opening_seq = DRAW.get(tx, damage.lobby), room(damage).opening_seq
    assert record is not None
    assert opening_seq is not None
    entries = list(LOBBY.scan(tx, damage.lobby))
    leave_room(tx, LeaveRoom(event_id, entries[1][1]))
    (places,) = [
        piece for piece in drawn_places(record.seed, b"".join(one.bytes for _, one in entries)) if piece
    ]
    ranks = no_ranks(len(places))
    for rank, place in enumerate(places):
        ranks[place] = rank
    chunk = KeepChunk(
        event_id=event_id,
        opening_seq=opening_seq,
        number=0,
        order=pack_numbers(places),
        ranks=pack_numbers(ranks),
    )
    assert keep_chunk(tx, chunk)
    assert finish_draw(tx, FinishDraw(event_id=event_id, opening_seq=opening_seq))
    advance_room(tx, event_id, 100)
    assert (room(damage).lobby, room(damage).active) == (1, 1)


def lobby_id(damage: Damage) -> EventId:
    event_id = event_of(damage.lobby)
    assert event_id is not None
    return event_id


def room(damage: Damage) -> RoomRecord:
    found = ROOM.get(damage.tx, damage.lobby)
    assert found is not None
    return found


def entry_of(damage: Damage, state: EntryState) -> EntryRecord:
    return next(one for _, one in ENTRIES.scan(damage.tx, damage.lobby) if one.state is state)


def seq_of(damage: Damage, state: EntryState) -> int:
    return entry_of(damage, state).seq


# --- before the draw -------------------------------------------------------------------------------------------------


def test_one_of_the_lobby_who_is_not_in_its_order(damage: Damage) -> None:
    LOBBY.delete(damage.tx, damage.lobby, 1)
    assert damage.found() == ["draw-equals-recount", "lobby"]


def test_one_in_the_order_of_the_lobby_who_is_not_there(damage: Damage) -> None:
    LOBBY.put(damage.tx, NOBODY, damage.lobby, 99)
    assert damage.found() == ["draw-equals-recount", "lobby"]


def test_one_who_waits_and_is_written_as_one_who_left(damage: Damage) -> None:
    DRAWN_LEFT.add(damage.tx, damage.lobby, 1)
    assert damage.found() == ["lobby"]


def test_one_who_ended_and_stands_in_a_list_that_was_never_closed(damage: Damage) -> None:
    first = entry_of(damage, EntryState.LOBBY)
    gone = damage.change_in(damage.lobby, ENTRIES, first.entry_id, state=EntryState.LEFT, ended_at_ms=1)
    assert "lobby" in damage.found()
    assert gone.seq == first.seq


def test_places_kept_for_a_list_that_is_open(damage: Damage) -> None:
    damage.change_in(damage.lobby, ROOM, opening_seq=1)
    assert damage.found() == ["lobby-has-places"]


def test_a_seed_of_another_length(damage: Damage) -> None:
    damage.change_in(damage.lobby, DRAW, seed=bytes(31))
    assert damage.found() == ["draw-prepared"]


def test_a_lobby_of_a_release_without_the_draw(damage: Damage) -> None:
    DRAW.delete(damage.tx, damage.lobby)
    assert damage.found() == []


# --- after it --------------------------------------------------------------------------------------------------------


def test_a_lobby_that_was_drawn(drawn: Damage) -> None:
    assert drawn.found() == []


def test_a_closed_list_without_its_seed(drawn: Damage) -> None:
    DRAW.delete(drawn.tx, drawn.lobby)
    assert "draw-prepared" in drawn.found()


@pytest.mark.parametrize(("by", "found"), [(0, []), (1, ["lobby-has-places"])])
def test_places_that_were_not_given(drawn: Damage, by: int, found: list[str]) -> None:
    last = room(drawn).next_seq - 3 + by
    ROOM.put(drawn.tx, replace(room(drawn), opening_seq=last), drawn.lobby)
    assert drawn.found() == found


def test_a_list_whose_places_were_given_back(drawn: Damage) -> None:
    drawn.change_in(drawn.lobby, ROOM, opening_seq=None)
    assert drawn.found() == ["lobby-has-places"]


def test_a_list_with_another_count(drawn: Damage) -> None:
    drawn.change_in(drawn.lobby, DRAW, entry_count=4)
    assert "draw-equals-recount" in drawn.found()


def test_a_list_with_another_first(drawn: Damage) -> None:
    for seq in (0, 2):
        drawn.change_in(drawn.lobby, DRAW, first_joined_seq=seq)
        assert drawn.found() == ["draw-equals-recount"]


def test_another_seed_than_the_order_was_drawn_from(drawn: Damage) -> None:
    seed = DRAW.get(drawn.tx, drawn.lobby)
    assert seed is not None
    for number in range(10):  # three entries have six orders: this one comes again by chance
        drawn.change_in(drawn.lobby, DRAW, seed=bytes([number]) * 32)
        if "draw-follows-seed" in drawn.found():
            return
    raise AssertionError("ten seeds all gave the same order")


def test_an_order_that_was_tampered_with(drawn: Damage) -> None:
    order = DRAWN_ORDER.get(drawn.tx, drawn.lobby, 0)
    assert order is not None
    first, second, third = unpack_numbers(order)
    DRAWN_ORDER.put(drawn.tx, pack_numbers(array("I", (second, first, third))), drawn.lobby, 0)
    assert "draw-follows-seed" in drawn.found()


def test_a_rank_that_nobody_has(drawn: Damage) -> None:
    ranks = DRAWN_RANKS.get(drawn.tx, drawn.lobby, 0)
    assert ranks is not None
    changed = unpack_numbers(ranks)
    changed[0] = NO_RANK
    DRAWN_RANKS.put(drawn.tx, pack_numbers(changed), drawn.lobby, 0)
    assert drawn.found() == ["draw-follows-seed"]


def test_an_order_with_a_chunk_too_many(drawn: Damage) -> None:
    DRAWN_ORDER.put(drawn.tx, bytes(4), drawn.lobby, 1)
    assert drawn.found() == ["draw-follows-seed"]


def test_one_who_waits_though_the_turn_has_come(drawn: Damage) -> None:
    drawn.change_in(drawn.lobby, ROOM, next_rank=3)
    assert drawn.found() == ["draw-in-turn"]


def test_a_turn_beyond_the_last(drawn: Damage) -> None:
    drawn.change_in(drawn.lobby, ROOM, next_rank=4)
    assert drawn.found() == ["draw-in-turn", "draw-in-turn"]


def test_one_who_came_in_before_the_turn(drawn: Damage) -> None:
    drawn.change_in(drawn.lobby, ROOM, next_rank=0)
    assert drawn.found() == ["draw-in-turn"]


def test_one_who_left_the_drawn_which_is_not_written(drawn: Damage) -> None:
    DRAWN_LEFT.remove(drawn.tx, drawn.lobby, seq_of(drawn, EntryState.LEFT))
    assert drawn.found() == ["lobby"]


def test_one_who_was_let_in_and_is_written_as_one_who_left(drawn: Damage) -> None:
    DRAWN_LEFT.add(drawn.tx, drawn.lobby, seq_of(drawn, EntryState.READY))
    assert drawn.found() == ["lobby"]


def test_one_who_left_without_having_been_in_the_list(drawn: Damage) -> None:
    DRAWN_LEFT.add(drawn.tx, drawn.lobby, 99)
    assert drawn.found() == ["lobby"]


def test_one_of_the_list_who_is_somebody_else(drawn: Damage) -> None:
    LOBBY.put(drawn.tx, NOBODY, drawn.lobby, seq_of(drawn, EntryState.LEFT))
    assert "lobby" in drawn.found()
