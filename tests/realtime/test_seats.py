from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from handlers.wire.realtime import encode_update
from storage.engine import Command
from storage.schema.ids import EventId
from storage.schema.layout import COUNTS, SECTIONS, event_partition
from tests.domain.inventory_stage import EVENT_ID, SMALL_HALL, section_id, user_id
from tests.handlers.sale_stage import SaleStage, open_plan, open_sale
from tests.handlers.socket_stage import Socket, open_socket
from tests.support.daemon import Client
from tests.support.tokens import mint
from ticketd.credentials.keyring import TokenKind
from ticketd.domain.events import DeleteEvent, delete_event, event_command_partitions
from ticketd.domain.seats import BlockSeats, unblock_seats
from ticketd.realtime.updates import Update


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Update]:
    """All updates that a daemon writes that is opened after this."""
    found: list[Update] = []

    def encode(update: Update, now_ms: int) -> bytes:
        found.append(update)
        return encode_update(update, now_ms)

    monkeypatch.setattr("ticketd.app.encode_update", encode)
    return found


async def open_user(stage: SaleStage, user: int = 1) -> Socket:
    return await open_socket(stage.daemon, mint(stage.daemon, TokenKind.USER, user=user_id(user)))


async def listen(stage: SaleStage, user: int = 1, *event_ids: EventId) -> Socket:
    socket = await open_user(stage, user)
    for event_id in event_ids or (EVENT_ID,):
        assert (await socket.subscribe(event_id))["type"] == "subscribed"
    return socket


def free(messages: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    return [
        (one["section"], one["available_seats"]) for one in messages if one["type"] == "availability_update"
    ]


async def unblock(stage: SaleStage, *names: str) -> None:
    numbers = stage.numbers()
    command = BlockSeats(EVENT_ID, tuple(numbers[name] for name in names))
    await stage.daemon.services.engine.submit(
        Command("unblock", (event_partition(EVENT_ID),), lambda tx: unblock_seats(tx, command))
    )


async def test_a_change_is_told_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await listen(stage)
        await stage.block("Floor/A/1")
        assert await socket.take_all() == [
            {
                "seq": 2,
                "type": "availability_update",
                "event_id": str(EVENT_ID),
                "section_id": str(section_id("Floor")),
                "section": "Floor",
                "available_seats": 11,
                "timestamp": "2026-07-14T03:33:20Z",
            }
        ]


@pytest.mark.parametrize(("wait_ms", "is_told"), [(249, False), (250, True), (251, True)])
async def test_the_next_is_told_after_250_ms_and_is_the_newest(
    autojump_clock: MockClock, tmp_path: Path, wait_ms: int, is_told: bool
) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await listen(stage)
        await stage.block("Floor/A/1")
        assert free(await socket.take_all()) == [("Floor", 11)]
        await trio.sleep(0.1)
        await stage.block("Floor/A/2")
        await trio.sleep(0.1)
        await stage.block("Floor/A/3")
        # Another section has a turn of its own.
        await stage.block("Balcony/A/1")
        assert free(await socket.take_all()) == [("Balcony", 3)]
        await trio.sleep((wait_ms - 200) / 1000)
        assert free(await socket.take_all()) == ([("Floor", 9)] if is_told else [])
        await trio.sleep(1)
        assert free(await socket.take_all()) == ([] if is_told else [("Floor", 9)])


async def test_what_goes_back_meanwhile_is_not_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await listen(stage)
        await stage.block("Floor/A/1")
        await socket.take_all()
        await stage.block("Floor/A/2")
        await unblock(stage, "Floor/A/2")
        await trio.sleep(1)
        assert await socket.take_all() == []


async def test_a_snapshot_between_two_tellings_is_followed_by_what_is_true(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        first = await listen(stage)
        await stage.block("Floor/A/1")
        await first.take_all()
        await stage.block("Floor/A/2")
        late = await open_user(stage, 2)
        # The snapshot is of now; then the seat comes back, so that what was told last to all is true again.
        assert (await late.subscribe(EVENT_ID))["sections"][0]["available_seats"] == 10
        await unblock(stage, "Floor/A/2")
        await trio.sleep(1)
        assert free(await late.take_all())[-1] == ("Floor", 11)


async def test_a_slow_reader_gets_the_newest_of_each_section(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    hall = {f"S{number}": {"A": 6} for number in range(100)}
    async with open_sale(tmp_path, open_plan(hall)) as stage:
        eager, slow = await listen(stage), await listen(stage, 2)
        for seat in range(1, 6):
            for number in range(100):
                await stage.block(f"S{number}/A/{seat}")
            await trio.sleep(1)
            assert len(await eager.take_all()) == 100
        taken = free(await slow.take_all())
        assert sorted(taken) == sorted((f"S{number}", 1) for number in range(100))


async def test_what_is_told_is_written_once_for_all(
    autojump_clock: MockClock, tmp_path: Path, written: list[Update]
) -> None:
    async with open_sale(tmp_path) as stage:
        sockets = [await listen(stage, user) for user in range(50)]
        written.clear()
        await stage.block("Floor/A/1")
        for socket in sockets:
            assert free(await socket.take_all()) == [("Floor", 11)]
        assert len(written) == 1


async def test_an_event_that_nobody_listens_to_costs_nothing(
    autojump_clock: MockClock, tmp_path: Path, written: list[Update]
) -> None:
    async with open_sale(tmp_path) as stage:
        await stage.block("Floor/A/1")
        await trio.sleep(1)
        assert (stage.daemon.services.hub.feed_count, written) == (0, [])


# --- events that change ---------------------------------------------------------------------------------------------


async def test_a_section_that_is_renamed_added_or_taken_away(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with open_sale(tmp_path) as stage:
        socket = await listen(stage)
        plan = open_plan({**SMALL_HALL, "Terrace": {"A": 3}})
        floor, balcony, terrace = plan.sections
        await stage.put(plan)
        assert free(await socket.take_all()) == [("Terrace", 3)]
        await trio.sleep(1)
        await stage.put(open_plan(sections=(floor, terrace)))
        assert free(await socket.take_all()) == [("Balcony", 0)]
        await trio.sleep(1)
        renamed = type(floor)(section_id=floor.section_id, name="Stalls", rows=floor.rows)
        await stage.put(open_plan(sections=(renamed, balcony)))
        told = await socket.take_all()
        # What is gone comes first: whoever keeps counts by id, or by name, is right in the end.
        assert set(free(told)[:2]) == {("Floor", 0), ("Terrace", 0)}
        assert set(free(told)[2:]) == {("Stalls", 12), ("Balcony", 4)}
        assert {one["section_id"] for one in told if one["section"] == "Stalls"} == {str(floor.section_id)}
        assert [one["section"] for one in (await socket.subscribe(EVENT_ID))["sections"]] == [
            "Stalls",
            "Balcony",
        ]
        await stage.block("Stalls/A/1")
        await trio.sleep(1)
        assert free(await socket.take_all()) == [("Stalls", 11)]


async def test_an_event_that_is_deleted(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with open_sale(tmp_path) as stage:
        user = await listen(stage)
        waiting = await open_socket(stage.daemon, mint(stage.daemon, TokenKind.QUEUE, event=EVENT_ID))
        await waiting.subscribe(EVENT_ID)
        partitions = event_command_partitions(EVENT_ID)
        await stage.daemon.services.engine.submit(
            Command("delete", partitions, lambda tx: delete_event(tx, DeleteEvent(EVENT_ID)))
        )
        for socket in (user, waiting):
            ended = {"type": "unsubscribed", "event_id": str(EVENT_ID), "reason": "EVENT_DELETED"}
            assert await socket.take_all() == [{"seq": 2, **ended}]
            assert (await socket.subscribe(EVENT_ID))["error"]["code"] == "EVENT_NOT_FOUND"
        # Put again, it is another beginning.
        await stage.put(open_plan())
        assert (await user.subscribe(EVENT_ID))["sections"][0]["available_seats"] == 12
        await stage.block("Floor/A/1")
        assert free(await user.take_all()) == [("Floor", 11)]


# --- against a naive model ------------------------------------------------------------------------------------------


def counts_in_store(stage: SaleStage, event_id: EventId) -> dict[str, int]:
    partition = event_partition(event_id)
    with stage.daemon.services.engine.snapshot(partition) as view:
        names = {key: record.name for (key,), record in SECTIONS.scan(view, partition)}
        found = dict.fromkeys(names.values(), 0)
        for (key, _), count in COUNTS.scan(view, partition):
            found[names[key]] += count.free
    return found


class Hearsay:
    """What one connection believes, from its messages alone."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.believed: dict[str, dict[str, int]] = {}
        self.wanted: set[str] = set()
        """The events that were subscribed to last, and not given up since."""

    def hear(self, message: dict[str, Any]) -> None:
        event_id = message["event_id"]
        if message["type"] == "subscribed":
            self.believed[event_id] = {one["section"]: one["available_seats"] for one in message["sections"]}
        elif message["type"] == "unsubscribed":
            self.believed.pop(event_id, None)
        elif message["type"] == "availability_update":
            # Of what one does not listen to, nothing is heard.
            self.believed[event_id][message["section"]] = message["available_seats"]

    async def hear_some(self, count: int) -> None:
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(count):
            text = self.socket.session.next_message()
            if text is None:
                return
            self.hear(self.socket.read(text))


class Stir:
    """A sale in which anything may happen next."""

    def __init__(self, stage: SaleStage, seed: int) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.events = [EventId(UUID(int=EVENT_ID.int + number)) for number in range(3)]
        self.buyers: dict[tuple[int, EventId], Client] = {}
        self.people: list[Hearsay] = []
        self.holds: list[tuple[int, EventId, str]] = []

    async def set_up(self) -> None:
        for event_id in self.events:
            await self.stage.put(open_plan(event_id=event_id))
        for user in (1, 2):
            for event_id in self.events:
                self.buyers[user, event_id] = await self.stage.buyer(user, event_id)
        self.people = [Hearsay(await open_user(self.stage, user)) for user in (1, 1, 2, 3)]

    async def step(self) -> None:
        steps = (self.subscribe, self.unsubscribe, self.reserve, self.release, self.wait, self.hear)
        await self.chance.choices(steps, (4, 1, 4, 2, 2, 3))[0]()
        for person in self.people:
            # So that nobody is kept waiting with an answer.
            while not person.socket.session.takes_messages:
                await person.hear_some(1)

    async def subscribe(self) -> None:
        person, event_text = self.chance.choice(self.people), str(self.chance.choice(self.events))
        await person.socket.say(type="subscribe", event_id=event_text)
        person.wanted.add(event_text)

    async def unsubscribe(self) -> None:
        person, event_text = self.chance.choice(self.people), str(self.chance.choice(self.events))
        await person.socket.say(type="unsubscribe", event_id=event_text)
        person.wanted.discard(event_text)

    async def reserve(self) -> None:
        user, event_id = self.chance.choice((1, 2)), self.chance.choice(self.events)
        wish = {"event_id": str(event_id), "user_id": str(user_id(user)), "quantity": 1}
        held = await self.buyers[user, event_id].post("/v1/seats/reserve", wish)
        if held.status == 201:
            self.holds.append((user, event_id, held.json["reservation_id"]))

    async def release(self) -> None:
        if self.holds:
            user, event_id, hold = self.holds.pop(self.chance.randrange(len(self.holds)))
            await self.buyers[user, event_id].delete(f"/v1/reservations/{hold}")

    async def wait(self) -> None:
        await trio.sleep(self.chance.choice((0.01, 0.1, 0.25, 0.5, 30)))

    async def hear(self) -> None:
        await self.chance.choice(self.people).hear_some(self.chance.randrange(5))


@pytest.mark.parametrize("seed", range(8))
async def test_when_the_dust_settles_everybody_believes_what_is_true(
    autojump_clock: MockClock, tmp_path: Path, seed: int
) -> None:
    async with open_sale(tmp_path) as stage:
        stir = Stir(stage, seed)
        await stir.set_up()
        for _ in range(200):
            await stir.step()
        await trio.sleep(1)
        listening = 0
        for person in stir.people:
            await person.hear_some(10_000)
            for event_text, believed in person.believed.items():
                assert believed == counts_in_store(stage, EventId(UUID(event_text)))
                listening += 1
            assert set(person.believed) == person.wanted
        assert listening
