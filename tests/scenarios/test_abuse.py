"""What somebody tries who wants more of a waiting room than their place: other people's tokens, forged ones, dead ones,
and ten thousand joins from one device. None of it opens a door, moves anybody or leaves a trace in the store."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from config.settings import RateLimitSettings, Settings, StorageSettings
from handlers.call import ListenerKind
from storage.engine import Command, Transaction
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import ENTRIES, LIVE_BY_DEVICE, event_partition
from storage.writer import InlineEngine
from tests.support.daemon import Answer, Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.verified import assert_verified
from ticketd.credentials.devices import hash_device
from ticketd.credentials.keyring import TokenKind
from ticketd.credentials.tokens import PlaceGrant, mint_access, mint_queue
from ticketd.domain.events import DeleteEvent, delete_event, event_command_partitions
from ticketd.domain.rooms import JoinRoom, join_room
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id

JOIN, RESUME, STATUS, LEAVE = (
    "/v1/queue/join",
    "/v1/queue/resume",
    "/v1/queue/status",
    "/v1/queue/leave",
)
JOINS = 10_000


@dataclass
class Buyer:
    """Somebody with a place."""

    user_id: UserId
    entry_id: EntryId
    device: str
    client: Client

    @property
    def token(self) -> str:
        assert self.client.token is not None
        return self.client.token


class House:
    """A daemon with two events; one may shop in each at a time."""

    def __init__(self, daemon: Daemon, event_id: EventId, other_id: EventId) -> None:
        self.daemon = daemon
        self.event_id = event_id
        self.other_id = other_id

    @property
    def engine(self) -> InlineEngine:
        engine = self.daemon.services.engine
        assert isinstance(engine, InlineEngine)
        return engine

    async def join(self, event_id: EventId) -> Buyer:
        user_id = UserId(uuid4())
        device = f"device of {user_id}"
        answer = await self.daemon.client().post(JOIN, self.body(event_id, user_id, device))
        assert answer.status == 200, answer.body
        client = self.daemon.client().with_token(answer.json["queue_token"], device)
        return Buyer(user_id, EntryId(UUID(answer.json["entry_id"])), device, client)

    def body(self, event_id: EventId, user_id: UUID, device: str) -> dict[str, object]:
        return {"event_id": str(event_id), "user_id": str(user_id), "device_fingerprint": device}

    def grant(self, buyer: Buyer, event_id: EventId | None = None) -> PlaceGrant:
        """What a token for this buyer's place would say."""
        return PlaceGrant(
            user_id=buyer.user_id,
            event_id=event_id or self.event_id,
            entry_id=buyer.entry_id,
            device_hash=hash_device(buyer.device),
            jti=uuid4(),
            issued_at_ms=self.daemon.services.clock.now_ms(),
            ttl_seconds=3600,
        )

    def queue_token(self, buyer: Buyer, **changes: object) -> str:
        """A queue token that is signed as it should be, and says something else."""
        return mint_queue(self.daemon.services.keys.keyring, replace(self.grant(buyer), **changes)).token

    def versions(self) -> tuple[int, int]:
        """How much has happened in each event."""
        found = []
        for event_id in (self.event_id, self.other_id):
            partition = event_partition(event_id)
            with self.engine.snapshot(partition) as view:
                found.append(view.version(partition))
        return found[0], found[1]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        rate_limits=RateLimitSettings(enabled=False),
    )
    async with open_daemon(tmp_path, settings) as daemon:
        waiting = room(max_active=1)
        event_id = await put_plan(daemon, arena_file(waiting_room=waiting))
        other_id = await put_plan(daemon, arena_file(name="Another night", waiting_room=waiting))
        yield House(daemon, event_id, other_id)
        assert_verified(daemon)


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code if answer.status >= 400 else ""


async def ask(client: Client, method: str, path: str) -> Answer:
    return await client.call(method, path)


QUEUEING = [("GET", STATUS), ("DELETE", LEAVE)]


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), QUEUEING)
async def test_no_other_kind_of_token_speaks_for_a_place(house: House, method: str, path: str) -> None:
    first = await house.join(house.event_id)
    access = (await first.client.get(STATUS)).json["access_token"]
    waiting = await house.join(house.event_id)
    user = await house.daemon.user(waiting.user_id)
    before = house.versions()
    assert told(await ask(house.daemon.client(), method, path)) == (401, "TOKEN_MISSING")
    for other in (user, first.client.with_token(access, first.device)):
        assert told(await ask(other, method, path)) == (403, "TOKEN_KIND_NOT_ALLOWED")
        assert other.token is not None
        by_query = await ask(other.with_token(None), method, f"{path}?queue_token={other.token}")
        assert told(by_query) == (403, "TOKEN_KIND_NOT_ALLOWED")
    assert house.versions() == before


@pytest.mark.parametrize("path", [JOIN, RESUME])
async def test_a_place_is_no_voucher_for_another(house: House, path: str) -> None:
    first = await house.join(house.event_id)
    access = (await first.client.get(STATUS)).json["access_token"]
    waiting = await house.join(house.event_id)
    before = house.versions()
    body = house.body(house.other_id, waiting.user_id, waiting.device)
    assert told(await waiting.client.post(path, body)) == (403, "QUEUE_ACCESS_ONLY")
    shopping = first.client.with_token(access, first.device)
    assert told(await shopping.post(path, body)) == (403, "TOKEN_KIND_NOT_ALLOWED")
    assert house.versions() == before


@pytest.mark.parametrize(("method", "path"), QUEUEING)
@pytest.mark.parametrize("device", [None, "", "device of nobody", "DEVICE"])
async def test_a_stolen_token_is_worth_nothing_on_another_device(
    house: House, method: str, path: str, device: str | None
) -> None:
    await house.join(house.event_id)
    waiting = await house.join(house.event_id)
    before = house.versions()
    thief = house.daemon.client().with_token(waiting.token, device)
    assert told(await ask(thief, method, path)) == (403, "DEVICE_MISMATCH")
    assert house.versions() == before


@pytest.mark.parametrize(("method", "path"), QUEUEING)
async def test_a_forged_place_is_refused(house: House, method: str, path: str) -> None:
    first = await house.join(house.event_id)
    last = await house.join(house.event_id)
    before = house.versions()
    header, _, signature = last.token.split(".")
    wanted = first.token.split(".")[1]
    nobody_signs = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=")
    for forged in (
        f"{header}.{wanted}.{signature}",
        f"{nobody_signs.decode()}.{wanted}.",
        f"{nobody_signs.decode()}.{wanted}.{signature}",
        last.token[:-2],
        last.token + "x",
    ):
        client = house.daemon.client().with_token(forged, first.device)
        assert told(await ask(client, method, path)) == (401, "TOKEN_INVALID")
    assert house.versions() == before


@pytest.mark.parametrize(("method", "path"), QUEUEING)
async def test_a_place_is_looked_for_in_its_own_event_alone(house: House, method: str, path: str) -> None:
    await house.join(house.event_id)
    waiting = await house.join(house.event_id)
    before = house.versions()
    for event_id in (house.other_id, EventId(uuid4())):
        client = waiting.client.with_token(house.queue_token(waiting, event_id=event_id), waiting.device)
        answer = await ask(client, method, path)
        assert told(answer) == (410, "QUEUE_ENTRY_EXPIRED")
        assert answer.json["error"]["details"] == {"status": "EXPIRED"}
    nowhere = house.queue_token(waiting, entry_id=EntryId(new_id()))
    answer = await ask(waiting.client.with_token(nowhere, waiting.device), method, path)
    assert told(answer) == (410, "QUEUE_ENTRY_EXPIRED")
    assert house.versions() == before


@pytest.mark.parametrize(("method", "path"), QUEUEING)
async def test_a_place_that_ended_stays_ended(house: House, method: str, path: str) -> None:
    first, second = await house.join(house.event_id), await house.join(house.event_id)
    assert (await second.client.delete(LEAVE)).status == 204
    before = house.versions()
    for _ in range(3):
        answer = await ask(second.client, method, path)
        assert told(answer) == (410, "QUEUE_ENTRY_EXPIRED")
        assert answer.json["error"]["details"] == {"status": "LEFT"}
    assert house.versions() == before
    assert (await first.client.get(STATUS)).json["status"] == "READY"


@pytest.mark.parametrize(("method", "path"), QUEUEING)
async def test_a_place_in_an_event_that_was_deleted(house: House, method: str, path: str) -> None:
    await house.join(house.event_id)
    waiting = await house.join(house.event_id)
    command = DeleteEvent(house.event_id)
    await house.engine.submit(
        Command("delete", event_command_partitions(house.event_id), lambda tx: delete_event(tx, command))
    )
    answer = await ask(waiting.client, method, path)
    assert told(answer) == (410, "QUEUE_ENTRY_EXPIRED")
    assert answer.json["error"]["details"] == {"status": "EXPIRED"}


async def test_a_queue_token_and_another_events_access_token_buy_nothing(house: House) -> None:
    first = await house.join(house.event_id)
    access = (await first.client.get(STATUS)).json["access_token"]
    seats = {"event_id": str(house.other_id), "user_id": str(first.user_id), "quantity": 1}
    before = house.versions()
    assert told(await first.client.post("/v1/seats/reserve", seats)) == (403, "QUEUE_ACCESS_ONLY")
    shopping = first.client.with_token(access, first.device)
    assert told(await shopping.post("/v1/seats/reserve", seats)) == (403, "EVENT_MISMATCH")
    assert house.versions() == before


async def test_an_access_token_does_not_begin_a_window(house: House) -> None:
    """Signed by the right key for a place that still waits: the server's record decides, not the token."""
    await house.join(house.event_id)
    waiting = await house.join(house.event_id)
    keyring = house.daemon.services.keys.keyring
    kid = keyring.signing_key(TokenKind.ACCESS).kid
    token = mint_access(keyring, house.grant(waiting), kid).token
    early = waiting.client.with_token(token, waiting.device)
    before = house.versions()
    seats = {"event_id": str(house.event_id), "user_id": str(waiting.user_id), "quantity": 1}
    assert told(await early.post("/v1/seats/reserve", seats)) == (403, "ACCESS_EXPIRED")
    assert house.versions() == before


async def test_the_operators_doors_do_not_open_for_a_place(house: House) -> None:
    first = await house.join(house.event_id)
    answer = await first.client.post(f"/v1/operator/rooms/{house.event_id}", {"max_active": 500})
    assert told(answer) == (404, "NOT_FOUND")
    over_tcp = replace_listener(first.client)
    answer = await over_tcp.post(f"/v1/operator/rooms/{house.event_id}", {"max_active": 500})
    assert told(answer) == (403, "SCOPE_MISSING")


def replace_listener(client: Client) -> Client:
    return Client(client.server, client.api_key, client.token, client.device, ListenerKind.OPERATOR_TCP)


# --- one device -----------------------------------------------------------------------------------------------------


async def test_ten_thousand_joins_from_one_device_leave_one_place(house: House) -> None:
    """Others join meanwhile: each of their joins is one commit, and stands where it would have stood anyway."""
    partition, device = event_partition(house.event_id), hash_device("one device")
    await house.join(house.event_id)  # is let in, so that all others wait

    def join(user: int, device_hash: bytes) -> Command[int]:
        wanted = JoinRoom(
            event_id=house.event_id,
            user_id=UserId(UUID(int=user)),
            device_hash=device_hash,
            entry_id=EntryId(new_id()),
        )

        def run(tx: Transaction) -> int:
            return join_room(tx, wanted).position

        return Command("join", (partition,), run)

    assert (await house.engine.submit(join(1, device))).result == 1
    counters, version = house.engine.counters, house.versions()[0]
    commits, refused = counters.batches, counters.rejected
    positions: list[int] = []
    for user in range(JOINS):
        with pytest.raises(Refusal) as caught:
            await house.engine.submit(join(1000 + user, device))
        assert caught.value.code is ErrorCode.DEVICE_ALREADY_IN_QUEUE
        if user % 1000 == 0:
            positions.append((await house.engine.submit(join(500_000 + user, b"device %d" % user))).result)
    assert positions == list(range(2, 12))
    assert counters.rejected - refused == JOINS
    assert counters.batches - commits == len(positions)  # a refusal costs the disk nothing
    assert house.versions()[0] - version == len(positions)
    with house.engine.snapshot(partition) as view:
        assert len(list(LIVE_BY_DEVICE.scan(view, partition, device))) == 1
        assert len(list(ENTRIES.scan(view, partition))) == 2 + len(positions)


async def test_one_device_is_told_so_each_time_and_keeps_its_place(house: House) -> None:
    await house.join(house.event_id)
    waiting = await house.join(house.event_id)
    before, used = house.versions(), house.engine.used_bytes()
    for _ in range(300):
        body = house.body(house.event_id, uuid4(), waiting.device)
        assert told(await house.daemon.client().post(JOIN, body)) == (409, "DEVICE_ALREADY_IN_QUEUE")
    assert house.versions() == before
    assert house.engine.used_bytes() == used
    shown = (await waiting.client.get(STATUS)).json
    assert (shown["status"], shown["queue_position"]) == ("QUEUED", 1)
