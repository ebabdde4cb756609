from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.schema.records import CountRecord, RoomSettings, SaleRecord
from tests.domain.inventory_stage import EVENT_ID, inventory, make_plan
from ticketd.domain.sales import SalePhase, load_sale, load_total, sale_phase
from ticketd.errors import ErrorCode, Refusal

LOBBY, PRESALE, GENERAL, END, DATE = 100, 200, 300, 400, 500

SALE = SaleRecord(
    date_ms=DATE,
    presale_start_ms=PRESALE,
    general_sale_start_ms=GENERAL,
    sale_end_ms=END,
    currency="USD",
    purchase_limit=8,
    hold_seconds=600,
    tiers=(),
    room=RoomSettings(
        enabled=True,
        capacity=1,
        max_active=1,
        admit_per_minute=1,
        lobby_opens_ms=LOBBY,
        claim_seconds=1,
        access_seconds=1,
        max_entries_per_device=1,
    ),
)
FREE = CountRecord(free=1, sold=3)
HELD = CountRecord(held=1, sold=3)
GONE = CountRecord(sold=3, blocked=1)


@pytest.mark.parametrize(
    ("now_ms", "phase"),
    [
        (LOBBY - 1, SalePhase.UPCOMING),
        (LOBBY, SalePhase.LOBBY),
        (PRESALE - 1, SalePhase.LOBBY),
        (PRESALE, SalePhase.PRESALE),
        (GENERAL - 1, SalePhase.PRESALE),
        (GENERAL, SalePhase.ON_SALE),
        (END - 1, SalePhase.ON_SALE),
        (END, SalePhase.ENDED),
        (DATE, SalePhase.ENDED),
    ],
)
def test_the_phase_follows_the_dates(now_ms: int, phase: SalePhase) -> None:
    assert sale_phase(SALE, FREE, now_ms) is phase
    assert sale_phase(SALE, HELD, now_ms) is phase


@pytest.mark.parametrize(
    ("now_ms", "phase"),
    [
        (PRESALE - 1, SalePhase.LOBBY),
        (PRESALE, SalePhase.SOLD_OUT),
        (GENERAL, SalePhase.SOLD_OUT),
        (END, SalePhase.ENDED),
    ],
)
def test_sold_out_is_said_while_the_sale_is_open(now_ms: int, phase: SalePhase) -> None:
    assert sale_phase(SALE, GONE, now_ms) is phase


def test_without_a_presale_the_general_sale_opens() -> None:
    sale = replace(SALE, presale_start_ms=None)
    assert sale_phase(sale, FREE, GENERAL - 1) is SalePhase.LOBBY
    assert sale_phase(sale, FREE, GENERAL) is SalePhase.ON_SALE


def test_without_a_lobby_or_without_a_room_it_is_upcoming_until_it_opens() -> None:
    without_lobby = replace(SALE, room=replace(SALE.room, lobby_opens_ms=None))
    without_room = replace(SALE, room=replace(SALE.room, enabled=False))
    for sale in (without_lobby, without_room):
        assert sale_phase(sale, FREE, PRESALE - 1) is SalePhase.UPCOMING
        assert sale_phase(sale, FREE, PRESALE) is SalePhase.PRESALE


def test_without_an_end_of_its_own_it_ends_when_the_event_begins() -> None:
    sale = replace(SALE, sale_end_ms=None)
    assert sale_phase(sale, FREE, DATE - 1) is SalePhase.ON_SALE
    assert sale_phase(sale, FREE, DATE) is SalePhase.ENDED


@pytest.mark.parametrize("now_ms", [0, LOBBY, GENERAL, DATE])
def test_cancelled_weighs_more_than_any_date(now_ms: int) -> None:
    assert sale_phase(replace(SALE, cancelled=True), FREE, now_ms) is SalePhase.CANCELLED


async def test_sale_and_total_of_an_event(tmp_path: Path) -> None:
    with inventory(tmp_path) as stage:
        with pytest.raises(Refusal) as caught:
            stage.read(lambda reader: load_sale(reader, EVENT_ID))
        assert caught.value.code is ErrorCode.EVENT_NOT_FOUND
        assert stage.read(lambda reader: load_total(reader, EVENT_ID)) == CountRecord()
        await stage.put(make_plan())
        assert stage.read(lambda reader: load_sale(reader, EVENT_ID)).currency == "USD"
        assert stage.read(lambda reader: load_total(reader, EVENT_ID)) == CountRecord(free=16)
