"""What the calls that an on-sale is made of cost below the front: CPU time from the raw request to the finished reply.

The whole daemon but its sockets: the threaded writer, every commit synced, all background tasks, rate limits that
count. Reads run one after the other; what commits runs for many callers at once, and its CPU time is the whole
process's, the writer's thread included. ``--profile NAME`` prints where the time of one of them goes. Run it as
``python -m scripts.benchmarks.hot``.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import msgspec
import trio

from config.settings import LogSettings, RateLimitSettings, Settings, StorageSettings
from handlers.call import ListenerKind, RawRequest, Reply
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from scripts.benchmarks.reserve import MIB, PAIRS, hall, line, seats_of
from storage.clock import SteadyClock
from storage.engine import Command
from storage.open import open_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, seat_id
from storage.schema.layout import SYSTEM
from storage.schema.records import ApiKeyRecord
from ticketd.app import Outside, Place, build_services
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, new_api_key
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.keys import add_api_key
from ticketd.event_file.plan import RoomPlan
from ticketd.first_start import prepare_store
from ticketd.logs import set_up_logs
from ticketd.ports.mail import Sender
from ticketd.ports.outbox import OutboxMailer
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.tree import run_tasks

BUYERS: Final = 256
SLICES: Final = 10
"""Of these the fastest counts: whatever else runs on the machine only adds to the CPU time of a call."""
JOINS_EACH: Final = 8
ROOM_ID: Final = EventId(UUID("0190a0b0-0000-7000-8000-0000000000aa"))
"""An event whose room lets hardly anybody in: all but one of its buyers wait."""
HALL_ID: Final = hall().event_id

_BROWSER: Final = {
    "host": "tickets.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
}
# A benchmark asks far more of one caller than any may ask. What is counted, is counted all the same.
_LIMITS: Final = RateLimitSettings(
    search_per_minute=1_000_000,
    event_details_per_minute=1_000_000,
    seat_map_per_minute=1_000_000,
    reserve_per_minute=1_000_000,
    queue_status_per_minute=60_000,
    queue_status_burst=10_000_000,
    token_per_hour=1_000_000,
    join_per_minute=1_000_000,
    sessions_per_minute=1_000_000,
    other_per_minute=1_000_000,
)


@dataclass
class Stage:
    """The daemon without its sockets, and a browser's key to it."""

    server: Server
    api_key: str

    async def ask(self, request: RawRequest) -> Reply:
        """The reply to one request; a refusal ends the benchmark."""
        reply = await self.server.answer_request(request)
        if reply.status != 200:
            raise SystemExit(
                f"{request.method} {request.path} answered {reply.status}: {reply.body.decode()}"
            )
        return reply

    def request(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> RawRequest:
        """One request of a browser, as a front hands it in."""
        raw = b"" if body is None else msgspec.json.encode(body)
        path, _, query = target.partition("?")
        sent = {**_BROWSER, "x-api-key": self.api_key, **(headers or {})}
        if raw:
            sent |= {"content-type": "application/json", "content-length": str(len(raw))}

        async def read_body(_: int) -> bytes:
            return raw

        return RawRequest(method, path, query, sent, "127.0.0.1", ListenerKind.PUBLIC, read_body)


class Buyer:
    """Somebody with a place in an event's room."""

    def __init__(self, stage: Stage, event_id: EventId) -> None:
        self.user_id, self.device = uuid4(), str(uuid4())
        self.headers: dict[str, str] = {"x-device-id": self.device}
        self._stage = stage
        self._event_id = event_id

    def join(self) -> RawRequest:
        """Wants a place."""
        body = {
            "event_id": self._event_id,
            "user_id": self.user_id,
            "device_fingerprint": self.device,
        }
        return self._stage.request("POST", "/v1/queue/join", body, self.headers)

    async def wait(self) -> None:
        """Takes a place; what the buyer sends from now on has the queue token."""
        joined = await self._stage.ask(self.join())
        self.headers["authorization"] = f"Bearer {msgspec.json.decode(joined.body)['queue_token']}"

    async def come_in(self) -> None:
        """Takes a place and the access token."""
        await self.wait()
        status = await self._stage.ask(self._stage.request("GET", "/v1/queue/status", headers=self.headers))
        self.headers["authorization"] = f"Bearer {msgspec.json.decode(status.body)['access_token']}"

    def reserve(self, pair: int) -> RawRequest:
        """Wants to hold two seats."""
        wanted = {
            "event_id": self._event_id,
            "user_id": self.user_id,
            "seat_ids": [seat_id(self._event_id, seat) for seat in seats_of(pair)],
        }
        return self._stage.request("POST", "/v1/seats/reserve", wanted, self.headers)

    def release(self, held: Reply) -> RawRequest:
        """Wants to give up what was held."""
        place = next(value for name, value in held.headers if name.lower() == "location")
        return self._stage.request("DELETE", place, headers=self.headers)


@asynccontextmanager
async def open_stage(data: Path) -> AsyncIterator[Stage]:
    """A daemon over a new folder, with both events in it."""
    settings = Settings(storage=StorageSettings(map_size_bytes=4096 * MIB), rate_limits=_LIMITS)
    clock = SteadyClock()
    with open_engine(data, settings.storage, clock, EVENT_CODEC) as engine:
        async with trio.open_nursery() as writer:
            await writer.start(engine.run)
            await prepare_store(engine, clock.now_ms(), settings.payments.gateway)
            text, fields = new_api_key(
                os.urandom(API_KEY_RANDOM_BYTES), Scope.STOREFRONT, "bench", clock.now_ms()
            )
            key = ApiKeyRecord(
                key_id=fields.key_id,
                scope=fields.scope.value,
                name=fields.name,
                secret_hash=fields.secret_sha256,
                created_at_ms=fields.created_at_ms,
            )
            await engine.submit(Command("add_api_key", (SYSTEM,), partial(add_api_key, record=key)))
            plan = hall()
            busy = RoomPlan(enabled=True, max_active=1, access_seconds=86_400, capacity=1_000_000)
            for one in (plan, msgspec.structs.replace(plan, event_id=ROOM_ID, room=busy)):
                put = partial(put_event, command=PutEvent(one))
                await engine.submit(
                    Command("put_event", event_command_partitions(EventId(one.event_id)), put)
                )
            sandbox = SandboxGateway(
                data / "sandbox.sqlite", now_ms=clock.now_ms, public_url="http://tickets.example", inline=True
            )
            mailer = OutboxMailer(data / "outbox", sender=Sender("tickets@localhost"), now_ms=clock.now_ms)
            outside = Outside(gateway=sandbox, sandbox=sandbox, mailer=mailer)
            place = Place(data=data, public_url="http://tickets.example")
            services = build_services(settings, place, engine, clock, outside)
            async with trio.open_nursery() as tasks:
                await tasks.start(run_tasks, services, mailer)
                yield Stage(Server(services, Router(ENDPOINTS)), text)
                tasks.cancel_scope.cancel()
            outside.close()
            writer.cancel_scope.cancel()


class Bench:
    """Runs measurements and prints their lines; the first slice of the one ``profiled`` is run under cProfile."""

    def __init__(self, stage: Stage, calls: int, profiled: str) -> None:
        self.stage = stage
        self._calls = calls
        self._profiled = profiled

    async def read(self, name: str, requests: Sequence[RawRequest], status: int = 200) -> None:
        """One reading call after the other."""

        calls = self._calls // SLICES
        following = cycle(requests)

        async def run() -> None:
            answer = self.stage.server.answer_request
            for request, _ in zip(following, range(calls), strict=False):
                reply = await answer(request)
                if reply.status != status:
                    raise SystemExit(f"{name}: {reply.status} {reply.body[:300]!r}")

        took = [await self.time(name, run, calls) for _ in range(SLICES)]
        line(name, min(took), "us")

    async def time(self, name: str, run: Callable[[], Awaitable[None]], calls: int) -> float:
        """The CPU time of each of the calls that ``run`` makes, in microseconds."""
        profile = cProfile.Profile() if self._profiled == name else None
        began = time.process_time()
        if profile is not None:
            profile.enable()
        await run()
        if profile is not None:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
            self._profiled = ""
        return (time.process_time() - began) / calls * 1e6


async def crowd(buyers: Sequence[Buyer], do: Callable[[Buyer], Awaitable[None]]) -> None:
    """Has every buyer do something, all at once."""
    async with trio.open_nursery() as nursery:
        for buyer in buyers:
            nursery.start_soon(do, buyer)


async def ask_all(
    stage: Stage, asked: Sequence[Sequence[RawRequest]], status: int, replies: list[list[Reply]]
) -> None:
    """Each caller sends its requests one after the other, all callers at once; ``replies`` has theirs by caller."""

    async def ask(requests: Sequence[RawRequest], answered: list[Reply]) -> None:
        for request in requests:
            reply = await stage.server.answer_request(request)
            if reply.status != status:
                raise SystemExit(f"{request.method} {request.path}: {reply.status} {reply.body[:300]!r}")
            answered.append(reply)

    async with trio.open_nursery() as nursery:
        for requests in asked:
            replies.append([])
            nursery.start_soon(ask, requests, replies[-1])


async def measure_reads(bench: Bench, waiting: Sequence[Buyer]) -> None:
    """What is asked for without a commit."""
    stage = bench.stage
    polls = [stage.request("GET", "/v1/queue/status", headers=buyer.headers) for buyer in waiting]
    await bench.read("queue_status", polls)
    token = waiting[0].headers["authorization"].removeprefix("Bearer ")
    in_query = stage.request(
        "GET", f"/v1/queue/status?queue_token={token}", headers={"x-device-id": waiting[0].device}
    )
    await bench.read("queue_status_token_in_query", [in_query])
    seats, details = f"/v1/events/{HALL_ID}/seats", f"/v1/events/{HALL_ID}"
    for name, target in (("seat_map", seats), ("event_details", details)):
        first = await stage.ask(stage.request("GET", target))
        etag = next(value for name, value in first.headers if name.lower() == "etag")
        await bench.read(f"{name}_304", [stage.request("GET", target, None, {"if-none-match": etag})], 304)
        await bench.read(f"{name}_whole", [stage.request("GET", target)])


async def measure_commits(bench: Bench, shopping: Sequence[Buyer], rounds: int) -> None:
    """What is durable when it is answered, asked for by all buyers at once: in each round as many more join as the hall
    has pairs of seats, then it is filled and emptied."""
    took: dict[str, list[float]] = {"join": [], "reserve_two": [], "release_two": []}

    async def ask_all_of(name: str, asked: Sequence[Sequence[RawRequest]], status: int) -> list[list[Reply]]:
        replies: list[list[Reply]] = []
        run = partial(ask_all, bench.stage, asked, status, replies)
        took[name].append(await bench.time(name, run, sum(map(len, asked))))
        return replies

    for _ in range(rounds):
        joining = [[Buyer(bench.stage, ROOM_ID).join() for _ in range(JOINS_EACH)] for _ in shopping]
        await ask_all_of("join", joining, 200)
        wishes = [
            [buyer.reserve(pair) for pair in range(number, PAIRS, len(shopping))]
            for number, buyer in enumerate(shopping)
        ]
        held = await ask_all_of("reserve_two", wishes, 201)
        ends = [
            [buyer.release(one) for one in of_buyer] for buyer, of_buyer in zip(shopping, held, strict=True)
        ]
        await ask_all_of("release_two", ends, 204)
    for name, figures in took.items():
        line(name, min(figures), "us")


async def measure(data: Path, given: argparse.Namespace) -> None:
    """Runs the whole benchmark in the folder, and prints its table."""
    set_up_logs(LogSettings(level=given.log_level, format="json"))
    async with open_stage(data) as stage:
        bench = Bench(stage, given.calls, given.profile)
        waiting = [Buyer(stage, ROOM_ID) for _ in range(given.buyers + 1)]
        await waiting.pop(0).wait()
        await crowd(waiting, Buyer.wait)
        await measure_reads(bench, waiting)
        shopping = [Buyer(stage, HALL_ID) for _ in range(given.buyers)]
        await crowd(shopping, Buyer.come_in)
        await measure_commits(bench, shopping, given.rounds)


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--buyers", type=int, default=BUYERS)
    arguments.add_argument("--calls", type=int, default=20_000, help="of each that reads")
    arguments.add_argument("--rounds", type=int, default=3, help="in which the hall is filled and emptied")
    arguments.add_argument("--log-level", default="warning", help="at info, every request writes a line")
    arguments.add_argument("--profile", default="", metavar="NAME", help="print where the time of one goes")
    arguments.add_argument("--data", type=Path, help="a folder on the disk to be measured")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        trio.run(measure, Path(folder), given)


if __name__ == "__main__":
    main()
