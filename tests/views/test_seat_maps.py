from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from storage.change_log import trim_changes
from storage.schema.ids import EventId, RowKey, SectionId, seat_id
from storage.schema.records import RowPlanRecord, RowRecord
from tests.domain.inventory_recount import seats_by_name
from tests.domain.inventory_stage import EVENT_ID, Stage, inventory, make_plan, section_id, tier_id
from tests.views.seat_map_reading import put, read, refused, states, stored_states
from ticketd.errors import ErrorCode
from ticketd.event_file.plan import RowPlan, SeatPlan, SectionPlan
from ticketd.views.kept_maps import CROWD_ASKS, OLDEST_MS, SEATS_FOR_ONE_MS
from ticketd.views.seat_map_text import MIN_COMPRESSED_BYTES
from ticketd.views.seat_maps import SeatMapRequest, SeatMaps
from ticketd.views.seat_text import SeatStyle

BIG_HALL = {"Floor": {f"R{n}": 50 for n in range(OLDEST_MS * SEATS_FOR_ONE_MS // 50)}}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with inventory(tmp_path) as stage:
        yield stage


async def test_the_whole_map_says_all_of_a_seat(stage: Stage) -> None:
    quoted = 'Row "Ä"'
    seats = (SeatPlan("1", 0, 1.5, -2.25), SeatPlan("2\\", 1), SeatPlan("zwölf", 0, 0.0, 1e-9))
    plan = make_plan(
        sections=(
            SectionPlan(section_id=section_id("Floor"), name="Floor", rows=(RowPlan(quoted, seats),)),
            SectionPlan(section_id=section_id("Lawn"), name="Lawn", rows=()),
        )
    )
    await stage.put(plan)
    maps = SeatMaps(stage.engine, stage.clock)
    by_name = stage.read(lambda reader: seats_by_name(reader, EVENT_ID))
    await stage.block(by_name[f"Floor/{quoted}/2\\"])
    ids = [str(seat_id(EVENT_ID, seat)) for seat in by_name.values()]
    answer = read(maps)
    assert answer == {
        "event_id": str(EVENT_ID),
        "version": 2,
        "complete": True,
        "currency": "USD",
        "sections": [
            {
                "section_id": str(section_id("Floor")),
                "name": "Floor",
                "rows": [
                    {
                        "row": quoted,
                        "seats": [
                            {
                                "seat_id": ids[0],
                                "number": "1",
                                "status": "AVAILABLE",
                                "price": 500.0,
                                "tier_id": str(tier_id(0)),
                                "x": 1.5,
                                "y": -2.25,
                            },
                            {
                                "seat_id": ids[1],
                                "number": "2\\",
                                "status": "BLOCKED",
                                "price": 150.0,
                                "tier_id": str(tier_id(1)),
                            },
                            {
                                "seat_id": ids[2],
                                "number": "zwölf",
                                "status": "AVAILABLE",
                                "price": 500.0,
                                "tier_id": str(tier_id(0)),
                                "x": 0.0,
                                "y": 1e-9,
                            },
                        ],
                    }
                ],
            },
            {"section_id": str(section_id("Lawn")), "name": "Lawn", "rows": []},
        ],
        "last_updated": "2027-01-15T08:00:00Z",
    }


@pytest.mark.parametrize(("currency", "price"), [("USD", "500.00"), ("JPY", "50000"), ("BHD", "50.000")])
async def test_a_price_has_its_currencys_decimals(stage: Stage, currency: str, price: str) -> None:
    await stage.put(make_plan({"Floor": {"A": 1}}, currency=currency))
    text = SeatMaps(stage.engine, stage.clock).read(SeatMapRequest(event_id=EVENT_ID))
    assert f'"price":{price},'.encode() in text.body


async def test_every_move_of_a_seat_is_shown(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    assert set(states(read(maps)).values()) == {"AVAILABLE"}
    seats = stage.seats("Floor/A/1", "Floor/A/2")
    held = await stage.reserve(1, *seats)
    assert states(read(maps))["Floor/A/2"] == "RESERVED"
    await stage.freeze(1, held.reservation_id, 7, stage.clock.at_ms + 1000)
    await stage.sell(held.reservation_id)
    assert states(read(maps))["Floor/A/2"] == "SOLD"
    await stage.give_back(1, 7, *seats)
    assert states(read(maps))["Floor/A/2"] == "AVAILABLE"
    assert states(read(maps)) == stored_states(stage)


async def test_last_updated_is_when_the_last_seat_moved(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    stage.clock.at_ms += 61_000
    assert read(maps)["last_updated"] == "2027-01-15T08:00:00Z"
    await stage.block(stage.seat("Floor/A/1"))
    stage.clock.at_ms += 61_000
    assert read(maps)["last_updated"] == "2027-01-15T08:01:01Z"
    assert read(SeatMaps(stage.engine, stage.clock))["last_updated"] == "2027-01-15T08:01:01Z"


async def test_without_a_log_the_time_is_that_of_reading(stage: Stage) -> None:
    await stage.put(make_plan())
    stage.clock.at_ms += 61_000
    await stage.engine.submit(trim_changes(stage.partition, stage.clock.at_ms, 10))
    assert read(SeatMaps(stage.engine, stage.clock))["last_updated"] == "2027-01-15T08:01:01Z"


async def test_one_section(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    await stage.block(stage.seat("Balcony/A/3"))
    answer = read(maps, "Balcony")
    assert [section["name"] for section in answer["sections"]] == ["Balcony"]
    assert states(answer)["Balcony/A/3"] == "BLOCKED"
    assert states(read(maps, "Floor")).keys() | states(answer).keys() == states(read(maps)).keys()
    assert read(maps, "Floor", since=1)["sections"] == []
    assert list(states(read(maps, "Balcony", since=1))) == ["Balcony/A/3"]


async def test_what_there_is_not(stage: Stage) -> None:
    maps = SeatMaps(stage.engine, stage.clock)
    assert refused(maps).code is ErrorCode.EVENT_NOT_FOUND
    assert maps.size_bytes == 0
    await stage.put(make_plan())
    assert refused(maps, section_id=SectionId(UUID(int=1))).code is ErrorCode.NOT_FOUND
    assert refused(maps, section_id=SectionId(UUID(int=1)), since=99).code is ErrorCode.NOT_FOUND
    assert refused(maps, event_id=EventId(UUID(int=1)), since=99).code is ErrorCode.EVENT_NOT_FOUND


# --- how old, how large ---------------------------------------------------------------------------------------------


async def test_a_large_map_is_at_most_250_ms_old(stage: Stage) -> None:
    await stage.put(make_plan(BIG_HALL))
    maps = SeatMaps(stage.engine, stage.clock)
    version = read(maps)["version"]
    await stage.block(stage.seat("Floor/R0/1"))
    stage.clock.at_ms += OLDEST_MS - 1
    old = read(maps)
    assert old["version"] == version
    assert states(old)["Floor/R0/1"] == "AVAILABLE"
    # What changed is never held back, and a section that nobody has asked for yet is new.
    assert states(read(maps, since=version)) == {"Floor/R0/1": "BLOCKED"}
    assert states(read(maps, "Floor"))["Floor/R0/1"] == "BLOCKED"
    stage.clock.at_ms += 1
    assert states(read(maps))["Floor/R0/1"] == "BLOCKED"
    stage.clock.at_ms += 10 * OLDEST_MS
    await stage.block(stage.seat("Floor/R0/2"))
    assert states(read(maps))["Floor/R0/2"] == "BLOCKED", "after a quiet time a change is shown at once"
    await stage.block(stage.seat("Floor/R0/3"))
    stage.clock.at_ms -= 5000
    assert states(read(maps))["Floor/R0/3"] == "BLOCKED", "a clock that steps back keeps nothing old"


@pytest.mark.parametrize(("seats", "fresh"), [(SEATS_FOR_ONE_MS - 1, True), (SEATS_FOR_ONE_MS, False)])
async def test_a_small_map_is_always_new(stage: Stage, seats: int, fresh: bool) -> None:
    await stage.put(make_plan({"Floor": {"A": seats}}))
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    await stage.block(stage.seat("Floor/A/1"))
    assert (states(read(maps))["Floor/A/1"] == "BLOCKED") is fresh


async def test_a_map_is_made_once(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    for coding in (None, "gzip", "zstd"):
        request = SeatMapRequest(event_id=EVENT_ID, coding=coding)
        assert maps.read(request) is maps.read(request)


async def test_a_row_is_read_again_only_if_a_seat_of_it_moved(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[RowKey] = []
    row_text = SeatStyle.row_text

    def watched(style: SeatStyle, row_key: RowKey, plan: RowPlanRecord, record: RowRecord | None) -> bytes:
        rows.append(row_key)
        return row_text(style, row_key, plan, record)

    monkeypatch.setattr(SeatStyle, "row_text", watched)
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    assert rows == [0, 1, 2]
    for names, expected in ((["Floor/B/1"], [1]), (["Balcony/A/1", "Balcony/A/2"], [2]), ([], [])):
        rows.clear()
        if names:
            await stage.block(*stage.seats(*names))
        read(maps)
        read(maps, since=1)
        assert rows == expected


async def test_codings_hold_the_same_map_under_different_tags(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    plain = read(maps)
    assert read(maps, coding="gzip") == read(maps, coding="zstd") == plain
    requests = [
        SeatMapRequest(event_id=EVENT_ID, coding=coding, section_id=section)
        for coding in (None, "gzip", "zstd")
        for section in (None, section_id("Floor"))
    ]
    tags = {maps.read(request).etag for request in requests}
    assert len(tags) == len(requests)
    assert tags == {SeatMaps(stage.engine, stage.clock).read(request).etag for request in requests}
    await stage.block(stage.seat("Floor/A/1"))
    assert tags.isdisjoint(maps.read(request).etag for request in requests)


async def test_what_is_small_is_not_compressed(stage: Stage) -> None:
    await stage.put(make_plan({"Floor": {"A": 1}}))
    maps = SeatMaps(stage.engine, stage.clock)
    request = SeatMapRequest(event_id=EVENT_ID, coding="gzip")
    small = maps.read(request)
    assert small.coding is None
    for seats in range(2, 20):
        await stage.put(make_plan({"Floor": {"A": seats}}))
        plain, coded = maps.read(SeatMapRequest(event_id=EVENT_ID)), maps.read(request)
        assert (coded.coding == "gzip") is (len(plain.body) >= MIN_COMPRESSED_BYTES)


async def test_maps_asked_for_long_ago_make_room(stage: Stage) -> None:
    plans = [make_plan(event_id=UUID(int=0xE0 + number)) for number in range(4)]
    for plan in plans:
        await put(stage, plan)
    one = SeatMaps(stage.engine, stage.clock)
    requests = [SeatMapRequest(event_id=EventId(plan.event_id)) for plan in plans]
    one.read(requests[0])
    size = one.size_bytes
    assert size > len(one.read(requests[0]).body)

    maps = SeatMaps(stage.engine, stage.clock, kept_bytes=3 * size)
    texts = [maps.read(request) for request in requests[:3]]
    assert maps.size_bytes == 3 * size
    assert maps.read(requests[0]) is texts[0]
    maps.read(requests[3])
    assert maps.size_bytes == 3 * size
    assert maps.read(requests[0]) is texts[0]
    assert maps.read(requests[1]) is not texts[1], "the one asked for longest ago went"

    tiny = SeatMaps(stage.engine, stage.clock, kept_bytes=1)
    for request in requests:
        assert tiny.read(request) is tiny.read(request), "the last one is always kept"
    assert tiny.size_bytes == size


async def test_what_is_counted_as_kept_is_what_is_kept(stage: Stage) -> None:
    await stage.put(make_plan())
    maps = SeatMaps(stage.engine, stage.clock)
    read(maps)
    before, versions_of_a_row = maps.size_bytes, 8 * 6
    for _ in range(3):
        await stage.block(stage.seat("Floor/A/1"))
        read(maps)
        blocked = maps.size_bytes
        anew = SeatMaps(stage.engine, stage.clock)
        read(anew)
        assert blocked == anew.size_bytes + versions_of_a_row
        await stage.unblock(stage.seat("Floor/A/1"))
        read(maps)
    assert maps.size_bytes == before + versions_of_a_row
    maps.close()
    assert maps.size_bytes == 0


# --- made ahead -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [CROWD_ASKS - 1, CROWD_ASKS])
async def test_a_crowd_is_given_a_map_until_a_change_that_it_lacks_is_250_ms_old(
    stage: Stage, asks: int
) -> None:
    """Nobody makes it ahead here, as where the task is late."""
    await stage.put(make_plan(BIG_HALL))
    maps = SeatMaps(stage.engine, stage.clock)
    with maps.made_ahead(lambda: None):
        read(maps)
        stage.clock.at_ms += OLDEST_MS
        for _ in range(asks - 1):
            maps.read(SeatMapRequest(event_id=EVENT_ID))
        await stage.block(stage.seat("Floor/R0/1"))
        is_crowd = asks == CROWD_ASKS
        assert (states(read(maps))["Floor/R0/1"] == "AVAILABLE") is is_crowd
        stage.clock.at_ms += OLDEST_MS // 2
        await stage.block(stage.seat("Floor/R0/2"))
        stage.clock.at_ms += OLDEST_MS // 2 - 1
        assert (states(read(maps))["Floor/R0/1"] == "AVAILABLE") is is_crowd
        stage.clock.at_ms += 1
        now = states(read(maps))
        assert now["Floor/R0/1"] == "BLOCKED"
        assert (now["Floor/R0/2"] == "BLOCKED") is is_crowd
