"""The commit number of answers: which version of which partition each was read at, or committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
import trio

from config.settings import ServerSettings, Settings, StorageSettings
from handlers.call import RawRequest, Reply
from handlers.commit_versions import VersionedEngine
from handlers.serve import Server
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from tests.handlers.order_stage import BILLING
from tests.support.daemon import NO_RATE_LIMITS, Answer, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.shopping import enter

CARD = {"type": "CARD", "card_token": "tok_visa_4242"}


def settings(*, commit_header: bool) -> Settings:
    return Settings(
        server=ServerSettings(commit_header=commit_header),
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        rate_limits=NO_RATE_LIMITS,
    )


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path, settings(commit_header=True)) as daemon:
        yield daemon


@pytest.fixture
async def event_id(daemon: Daemon) -> EventId:
    return await put_plan(daemon, arena_file(waiting_room=room()))


def of_event(answer: Answer, event_id: EventId) -> str | None:
    """What the answer tells of the event's version."""
    members = dict(one.split("=", 1) for one in answer.headers.get("x-commit-version", "").split(", ") if one)
    return members.get(f"event-{event_id}")


def version(daemon: Daemon, event_id: EventId) -> int:
    with daemon.services.engine.snapshot() as view:
        return view.version(event_partition(event_id))


async def test_what_commits_tells_its_version_and_what_reads_or_is_refused_the_one_before_it(
    daemon: Daemon, event_id: EventId
) -> None:
    buyer, user_id = await enter(daemon, event_id)
    body = {"event_id": str(event_id), "user_id": str(user_id), "quantity": 1}
    before = version(daemon, event_id)
    held = await buyer.post("/v1/seats/reserve", body)
    assert held.status == 201
    assert of_event(held, event_id) == f"{version(daemon, event_id)};new"
    assert version(daemon, event_id) > before

    now = version(daemon, event_id)
    place = f"/v1/reservations/{held.json['reservation_id']}"
    for _ in range(2):
        shown = await buyer.get(place)
        assert (shown.status, of_event(shown, event_id)) == (200, f"{now}")
    over = await buyer.post("/v1/seats/reserve", {**body, "quantity": 8})
    assert (over.status, of_event(over, event_id)) == (422, f"{now}")

    freed = await buyer.delete(place)
    assert (freed.status, of_event(freed, event_id)) == (204, f"{version(daemon, event_id)};new")


async def test_a_repeated_answer_tells_when_it_was_repeated_and_keeps_its_bytes(
    daemon: Daemon, event_id: EventId
) -> None:
    buyer, user_id = await enter(daemon, event_id)
    body = {"event_id": str(event_id), "user_id": str(user_id), "quantity": 1}
    once = {"headers": {"idempotency-key": "key-number-1"}}
    first = await buyer.post("/v1/seats/reserve", body, **once)
    again = await buyer.post("/v1/seats/reserve", body, **once)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert of_event(first, event_id) == f"{version(daemon, event_id)};new"
    assert of_event(again, event_id) is None
    assert f"buyer-{user_id}=" in again.headers["x-commit-version"]


async def test_an_order_which_its_desk_places_tells_the_commit_that_sold_the_seats(
    daemon: Daemon, event_id: EventId
) -> None:
    buyer, user_id = await enter(daemon, event_id)
    body = {"event_id": str(event_id), "user_id": str(user_id), "quantity": 1}
    held = await buyer.post("/v1/seats/reserve", body)
    card = await buyer.post("/v1/payment-methods", CARD)
    before = version(daemon, event_id)
    order = await buyer.post(
        "/v1/orders",
        {
            "reservation_id": held.json["reservation_id"],
            "payment_method_id": card.json["payment_method_id"],
            "billing_address": BILLING,
            "delivery_method": "MOBILE",
        },
    )
    assert order.status == 201, order.body
    told = of_event(order, event_id)
    assert told is not None
    number, _, flag = told.partition(";")
    assert flag == "new"
    assert before < int(number) <= version(daemon, event_id)

    shown = await buyer.get(f"/v1/orders/{order.json['order_id']}")
    assert of_event(shown, event_id) == f"{version(daemon, event_id)}"


class HandingOver(Server):
    """Begins each answer in a task of its own, and leaves the rest to the one that asked."""

    async def answer_request(self, request: RawRequest) -> Reply:
        begun: list[Reply | Awaitable[Reply]] = []

        async def begin() -> None:
            begun.append(self.begin(request))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin)
        (answering,) = begun
        assert not isinstance(answering, Reply)
        return await answering


async def test_what_is_begun_in_one_task_and_awaited_in_another_tells_its_version(
    daemon: Daemon, event_id: EventId
) -> None:
    buyer, user_id = await enter(daemon, event_id)
    buyer.server = HandingOver(daemon.services, daemon.server.router)
    held = await buyer.post(
        "/v1/seats/reserve", {"event_id": str(event_id), "user_id": str(user_id), "quantity": 1}
    )
    assert of_event(held, event_id) == f"{version(daemon, event_id)};new"


async def test_what_has_nothing_to_do_with_the_store_tells_no_version(daemon: Daemon) -> None:
    assert "x-commit-version" not in (await daemon.client().get("/healthz")).headers


async def test_unless_it_is_asked_for_no_answer_tells_it_and_the_engine_is_bare(tmp_path: Path) -> None:
    async with open_daemon(tmp_path, settings(commit_header=False)) as daemon:
        event_id = await put_plan(daemon, arena_file())
        buyer, user_id = await enter(daemon, event_id)
        held = await buyer.post(
            "/v1/seats/reserve", {"event_id": str(event_id), "user_id": str(user_id), "quantity": 1}
        )
        assert held.status == 201
        assert "x-commit-version" not in held.headers
        assert not isinstance(daemon.services.engine, VersionedEngine)
