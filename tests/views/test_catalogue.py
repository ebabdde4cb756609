from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.engine import Command, Snapshot
from storage.schema.ids import EventId
from storage.schema.layout import ROW_PLANS, ROWS
from storage.writer import InlineEngine
from tests.domain.inventory_stage import DATE_MS, EVENT_ID, OPENS_MS, Stage, inventory, make_plan
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.domain.events import (
    DeleteEvent,
    PutEvent,
    delete_event,
    event_command_partitions,
    put_event,
)
from ticketd.domain.sales import SalePhase
from ticketd.event_file.plan import EventPlan
from ticketd.views.catalogue import Catalogue
from ticketd.views.search import SearchQuery


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with inventory(tmp_path) as stage:
        yield stage


async def put(stage: Stage, plan: EventPlan) -> None:
    partitions = event_command_partitions(EventId(plan.event_id))
    await stage.engine.submit(Command("put", partitions, lambda tx: put_event(tx, PutEvent(plan))))


def names(catalogue: Catalogue, query: str = "") -> list[str]:
    shown, total = catalogue.search(SearchQuery(query=query))
    assert total == len(shown)
    return [one.event.name for one in shown]


async def test_what_was_there_at_the_start_and_what_comes_later(stage: Stage) -> None:
    await stage.put(make_plan(name="First"))
    catalogue = Catalogue(stage.engine, stage.clock)
    assert names(catalogue) == ["First"]
    assert catalogue.known(EVENT_ID)

    other = make_plan(event_id=UUID(int=99), name="Second", date_ms=DATE_MS - 1)
    assert not catalogue.known(EventId(other.event_id))
    assert catalogue.details(EventId(other.event_id)) is None
    await put(stage, other)
    assert names(catalogue) == ["Second", "First"]
    await put(stage, make_plan(event_id=UUID(int=99), name="Second, moved", date_ms=DATE_MS + 1))
    assert names(catalogue) == ["First", "Second, moved"]
    assert names(catalogue, "moved") == ["Second, moved"]

    delete = DeleteEvent(EVENT_ID)
    partitions = event_command_partitions(EVENT_ID)
    await stage.engine.submit(Command("delete", partitions, lambda tx: delete_event(tx, delete)))
    assert names(catalogue) == ["Second, moved"]
    assert not catalogue.known(EVENT_ID)
    assert catalogue.details(EVENT_ID) is None


async def test_counts_follow_the_seats(stage: Stage) -> None:
    await stage.put(make_plan())
    catalogue = Catalogue(stage.engine, stage.clock)

    def counts() -> tuple[int, int, int, int, tuple[int, ...]]:
        details = catalogue.details(EVENT_ID)
        assert details is not None
        total = details.total
        return total.free, total.held, total.sold, total.blocked, details.free_by_tier

    assert counts() == (16, 0, 0, 0, (12, 4, 0))
    held = await stage.reserve(1, *stage.seats("Floor/A/1", "Balcony/A/1"))
    assert counts() == (14, 2, 0, 0, (11, 3, 0))
    await stage.buy(2, stage.seat("Floor/B/1"))
    await stage.block(stage.seat("Floor/B/2"))
    assert counts() == (12, 2, 1, 1, (9, 3, 0))
    await stage.release(1, held.reservation_id)
    assert counts() == (14, 0, 1, 1, (10, 4, 0))
    shown, _ = catalogue.search(SearchQuery())
    assert shown[0].total.free == 14


async def test_the_same_details_are_given_again_until_something_changes(stage: Stage) -> None:
    await stage.put(make_plan())
    catalogue = Catalogue(stage.engine, stage.clock)
    seen = [catalogue.details(EVENT_ID)]

    def has_changed() -> bool:
        now = catalogue.details(EVENT_ID)
        assert catalogue.details(EVENT_ID) is now
        seen.append(now)
        return all(now is not before for before in seen[:-1])

    assert not has_changed()
    await stage.block(stage.seat("Floor/A/1"))
    assert has_changed()
    stage.clock.at_ms = DATE_MS - 1
    assert not has_changed()
    stage.clock.at_ms = DATE_MS
    assert has_changed()
    await put(stage, make_plan(name="Another name"))
    assert has_changed()


async def test_the_phase_is_that_of_the_moment(stage: Stage) -> None:
    await stage.put(make_plan({"Floor": {"A": 2}}))
    catalogue = Catalogue(stage.engine, stage.clock)

    def phase() -> SalePhase:
        details = catalogue.details(EVENT_ID)
        ((shown,), _) = catalogue.search(SearchQuery())
        assert details is not None
        assert details.phase is shown.phase
        return details.phase

    stage.clock.at_ms = OPENS_MS - 1
    assert phase() is SalePhase.UPCOMING
    stage.clock.at_ms = OPENS_MS
    assert phase() is SalePhase.ON_SALE
    await stage.block(*stage.seats("Floor/A/1", "Floor/A/2"))
    assert phase() is SalePhase.SOLD_OUT
    await stage.unblock(stage.seat("Floor/A/1"))
    assert phase() is SalePhase.ON_SALE
    stage.clock.at_ms = DATE_MS
    assert phase() is SalePhase.ENDED
    stage.clock.at_ms = OPENS_MS
    await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
    assert phase() is SalePhase.CANCELLED


async def test_other_tiers_have_other_counts(stage: Stage) -> None:
    plan = make_plan({"Floor": {"A": [("1", 0), ("2", 1)]}})
    await stage.put(plan)
    catalogue = Catalogue(stage.engine, stage.clock)
    details = catalogue.details(EVENT_ID)
    assert details is not None
    assert details.free_by_tier == (1, 1, 0)
    fewer = make_plan({"Floor": {"A": [("1", 0), ("2", 0)]}})
    await stage.put(replace(fewer, tiers=plan.tiers[:1]))
    details = catalogue.details(EVENT_ID)
    assert details is not None
    assert details.free_by_tier == (2,)


class WatchedEngine:
    """The engine, with a note of every key that is read through it."""

    def __init__(self, engine: InlineEngine) -> None:
        self._engine = engine
        self.read: list[bytes] = []
        self.subscribe = engine.subscribe

    def snapshot(self, *partitions: bytes) -> Snapshot:
        snapshot = self._engine.snapshot()
        get, scan = snapshot.get, snapshot.scan
        watch = self.read

        class Watched:
            version = snapshot.version

            def __enter__(self) -> Watched:
                snapshot.__enter__()
                return self

            def __exit__(self, *error: object) -> None:
                snapshot.__exit__(None, None, None)

            def get(self, key: bytes) -> bytes | None:
                watch.append(key)
                return get(key)  # type: ignore[arg-type]  # a key, passed on

            def scan(self, lo: bytes, hi: bytes, *rest: object) -> object:
                watch.append(lo)
                return scan(lo, hi, *rest)  # type: ignore[arg-type]  # the same

        return Watched()  # type: ignore[return-value]  # all of it that a view uses


async def test_no_row_is_ever_read(stage: Stage) -> None:
    await stage.put(make_plan())
    watched = WatchedEngine(stage.engine)
    catalogue = Catalogue(watched, stage.clock)  # type: ignore[arg-type]  # all of it that a view uses
    at_start = len(watched.read)
    catalogue.search(SearchQuery())
    catalogue.details(EVENT_ID)
    rows = [table.key(stage.partition, 0)[:-9] for table in (ROWS, ROW_PLANS)]
    assert not [key for key in watched.read if key.startswith(tuple(rows))]
    assert 0 < at_start < len(watched.read)
    asked: Sequence[bytes] = tuple(watched.read)
    catalogue.search(SearchQuery())
    catalogue.details(EVENT_ID)
    assert tuple(watched.read) == asked, "what has not changed is not read again"


async def test_a_closed_catalogue_follows_no_longer(stage: Stage) -> None:
    catalogue = Catalogue(stage.engine, stage.clock)
    catalogue.close()
    await stage.put(make_plan())
    assert not catalogue.known(EVENT_ID)
