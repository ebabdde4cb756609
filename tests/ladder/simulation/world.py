"""The simulated machine: a daemon that lives, dies at a chosen commit and lives again on what it had made durable.

The store is real LMDB under the inline writer. What dies with the daemon is all that it had in memory; the gateway, the
mail and the machine's clock go on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

import trio

from config.settings import PaymentSettings, RateLimitSettings, Settings, StorageSettings
from handlers.call import ListenerKind
from handlers.realtime import RealtimeApp
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from handlers.ticket_art import WITHOUT_ART, ticket_code
from storage.backend import View
from storage.clock import SteadyClock
from storage.data_folder import DataFolder
from storage.engine import Key
from storage.lmdb_engine import LmdbBackend, open_lmdb
from storage.schema.events import EVENT_CODEC
from storage.schema.layout import EVENT_OF_ORDER, SYSTEM, TICKETS, event_partition
from storage.verify import Problem
from storage.writer import InlineEngine
from tests.ladder.invariants import Answered
from tests.ladder.simulation.outside import Letterbox, TroubledGateway
from tests.ladder.simulation.script import Crash
from tests.ladder.simulation.watch import Watch
from tests.support.daemon import PUBLIC_URL, START_MS, Answer, Client, add_key
from ticketd.app import Outside, Place, build_services
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope
from ticketd.first_start import prepare_store
from ticketd.loading import load_rooms
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.tasks.timekeeper import Timekeeper, credit_time_down
from ticketd.tree import run_tasks

SETTINGS: Final = Settings(
    storage=StorageSettings(map_size_bytes=256 * 1024 * 1024, min_free_bytes=1024 * 1024),
    payments=PaymentSettings(box_office=True),
    # As they ship but for polls, so that windows of some seconds can be met.
    rate_limits=RateLimitSettings(queue_status_per_minute=15, queue_status_burst=6),
)
PATIENCE_SECONDS: Final = 600
"""No request may wait for its answer as long as this, whatever troubles the gateway has."""
_ROUTER: Final = Router(ENDPOINTS)
_NS_PER_S: Final = 1_000_000_000
_START_NS: Final = START_MS * 1_000_000


class Crashed(BaseException):
    """The daemon is dead: nothing that it still wants to do is done."""


@dataclass
class Life:
    """One life of the daemon, from its start to its end. ``requests`` are those under way."""

    over: trio.Event = field(default_factory=trio.Event)
    dead: bool = False
    requests: dict[trio.CancelScope, None] = field(default_factory=dict)
    services: Services | None = None
    server: Server | None = None
    sockets: RealtimeApp | None = None
    down_ms: int = 0

    def end(self, down_ms: int) -> None:
        """Ends it here and now: what is under way stays undone."""
        self.dead = True
        self.down_ms = down_ms
        self.over.set()
        for scope in list(self.requests):
            scope.cancel()


class DyingBackend:
    """The store of one life. It counts commits, and dies where it was told to."""

    def __init__(self, inner: LmdbBackend, life: Life, world: World) -> None:
        self._inner = inner
        self._life = life
        self._world = world

    @property
    def place(self) -> str:
        return self._inner.place

    def view(self) -> View:
        return self._inner.view()

    def apply(
        self,
        puts: Sequence[tuple[Key, bytes]],
        deletes: Sequence[Key],
        staged: Callable[[], None] = lambda: None,
    ) -> None:
        if self._life.dead:
            raise Crashed
        self._world.commits += 1
        crash = self._world.crash_due()
        if crash is not None and not crash.after:
            self._die(crash)
        self._inner.apply(puts, deletes, staged)
        if crash is not None:
            self._die(crash)

    def room_bytes(self) -> int:
        return self._inner.room_bytes()

    def disk_room_bytes(self) -> int:
        return self._inner.disk_room_bytes()

    def used_bytes(self) -> int:
        return self._inner.used_bytes()

    def map_bytes(self) -> int:
        return self._inner.map_bytes()

    def close(self) -> None:
        self._inner.close()

    def _die(self, crash: Crash) -> None:
        self._world.watch.figures["crashes"] += 1
        self._life.end(crash.down_ms)
        raise Crashed


class World:
    """The machine, its clock, and whatever goes on when the daemon does not."""

    def __init__(self, folder: Path, watch: Watch, source: random.Random) -> None:
        self.watch = watch
        self.commits = 0
        self.keys: dict[Scope, str] = {}
        self.mail = Letterbox()
        self.life: Life | None = None
        self._came_up = trio.Event()
        self._folder = folder
        self._crashes: list[tuple[int, Crash]] = []
        self._began = trio.current_time()
        self._stepped_ms = 0
        self.sandbox = SandboxGateway(
            folder / "sandbox.sqlite",
            now_ms=self.machine_ms,
            public_url=PUBLIC_URL,
            inline=True,
            random_bytes=source.randbytes,
        )
        self.gateway = TroubledGateway(self.sandbox)

    def close(self) -> None:
        """Lets go of what outlives the daemon."""
        self.sandbox.close()

    # --- time ---------------------------------------------------------------------------------------------------

    def lived_ms(self) -> int:
        """Since the simulation began, whatever the clocks say."""
        return round((trio.current_time() - self._began) * 1000)

    def machine_ns(self) -> int:
        """The machine's clock."""
        return _START_NS + self._monotonic_ns() + self._stepped_ms * 1_000_000

    def machine_ms(self) -> int:
        """The same in milliseconds."""
        return self.machine_ns() // 1_000_000

    def set_clock(self, by_ms: int) -> None:
        """Somebody sets the machine's clock."""
        self._stepped_ms += by_ms

    def _monotonic_ns(self) -> int:
        return round((trio.current_time() - self._began) * _NS_PER_S)

    # --- life and death -----------------------------------------------------------------------------------------

    def plan_crash(self, crash: Crash) -> None:
        """The daemon dies so many commits from now."""
        self._crashes.append((self.commits + crash.commits, crash))

    def crash_due(self) -> Crash | None:
        """The crash that is due at this commit."""
        for planned in self._crashes:
            if planned[0] <= self.commits:
                self._crashes.remove(planned)
                return planned[1]
        return None

    def forget_crashes(self) -> None:
        """No crash that is planned comes any more."""
        self._crashes.clear()

    def restart(self, down_ms: int) -> None:
        """Ends the daemon; it is started again."""
        if self.life is not None:
            self.watch.figures["restarts"] += 1
            self.life.end(down_ms)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lives, dies and lives again, until it is cancelled."""
        while True:
            life = Life()
            try:
                await self._live(life, task_status)
            except* Crashed:
                pass
            finally:
                self.life = None
                if self._came_up.is_set():
                    self._came_up = trio.Event()
                self.watch.lose()
            self.watch.note("dead")
            task_status = trio.TASK_STATUS_IGNORED
            await trio.sleep(life.down_ms / 1000)

    async def _live(self, life: Life, task_status: trio.TaskStatus[None]) -> None:
        clock = SteadyClock(self.machine_ns, self._monotonic_ns)
        with DataFolder.open(self._folder / "data") as data:
            inner = open_lmdb(data.store_path, SETTINGS.storage.map_size_bytes, synced=False)
            backend = DyingBackend(inner, life, self)
            try:
                engine = InlineEngine(backend, clock, EVENT_CODEC)
                clock.start_no_earlier(engine.newest_commit_ms())
                self.watch.follow(engine)
                with engine.snapshot() as view:
                    self.watch.check_all(view)
                await credit_time_down(engine)
                await prepare_store(engine, clock.now_ms(), SETTINGS.payments.gateway)
                await self._add_keys(engine, clock)
                outside = Outside(gateway=self.gateway, mailer=self.mail, sandbox=self.sandbox)
                place = Place(data=data.path, public_url=PUBLIC_URL)
                services = build_services(SETTINGS, place, engine, clock, outside)
                await load_rooms(engine, services.positions)
                async with trio.open_nursery() as nursery:
                    await nursery.start(Timekeeper(engine, clock).run)
                    await nursery.start(run_tasks, services, self.mail)
                    life.services, life.server = services, Server(services, _ROUTER)
                    life.sockets = RealtimeApp(services)
                    self.life = life
                    self._came_up.set()
                    task_status.started()
                    await life.over.wait()
                    nursery.cancel_scope.cancel()
            finally:
                life.dead = True
                backend.close()

    async def _add_keys(self, engine: InlineEngine, clock: SteadyClock) -> None:
        for number, scope in enumerate(Scope):
            if scope not in self.keys:
                secret = bytes([number]) * API_KEY_RANDOM_BYTES
                self.keys[scope] = await add_key(engine, scope, clock.now_ms(), secret)

    def codes(self, order_id: str) -> list[tuple[str, str]]:
        """The tickets of an order that open the door, each with the text of its code."""
        services = None if self.life is None else self.life.services
        if services is None:
            return []
        with services.engine.snapshot() as view:
            event_id = EVENT_OF_ORDER.get(view, SYSTEM, UUID(order_id))
            if event_id is None:
                return []
            tickets = [ticket for _, ticket in TICKETS.scan(view, event_partition(event_id))]
        return [
            (str(ticket.ticket_id), ticket_code(services, event_id, ticket))
            for ticket in tickets
            if str(ticket.order_id) == order_id and ticket.state not in WITHOUT_ART
        ]

    # --- asking -------------------------------------------------------------------------------------------------

    async def wait_up(self) -> Life:
        """The daemon, once it lives."""
        while (life := self.life) is None or life.dead:
            # One that is dead, and not gone yet, takes no more requests.
            if life is None:
                await self._came_up.wait()
            else:
                await trio.sleep(0.001)
        return life

    async def ask(self, call: Request) -> Answer | None:
        """The answer to a request; None where the daemon died of it, or with it."""
        life = await self.wait_up()
        answer: Answer | None = None
        scope = trio.CancelScope()
        life.requests[scope] = None
        try:
            with scope, trio.move_on_after(PATIENCE_SECONDS) as patience:
                answer = await call.send(self, life)
            if patience.cancelled_caught:
                where, text = f"{call.method} {call.target}", f"no answer within {PATIENCE_SECONDS} s"
                self.watch.report([Problem(invariant="request-is-answered", where=where, text=text)])
        except* Crashed:
            pass
        finally:
            life.requests.pop(scope, None)
        if answer is None:
            self.watch.note("unanswered")
            self.watch.answers.release(call.method, call.target.partition("?")[0])
            return None
        self.watch.answer(
            call.caller,
            Answered(
                method=call.method,
                path=call.target.partition("?")[0],
                caller=call.caller,
                status=answer.status,
                headers=answer.headers,
                body=answer.body,
                sent=call.sent(),
                key=call.key,
                event=call.event,
                place=call.token or "",
            ),
        )
        return answer


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request of somebody. ``caller`` names who asks; ``scope`` is the API key's, None on the operator's socket."""

    method: str
    target: str
    caller: str
    body: object = None
    raw: bytes | None = None
    scope: Scope | None = Scope.STOREFRONT
    token: str | None = None
    device: str | None = None
    address: str = "127.0.0.1"
    key: str | None = None
    event: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def sent(self) -> bytes:
        """What is sent, for telling requests apart."""
        return self.raw if self.raw is not None else repr(self.body).encode()

    async def send(self, world: World, life: Life) -> Answer:
        """Sends it."""
        assert life.server is not None
        listener = ListenerKind.OPERATOR if self.scope is None else ListenerKind.PUBLIC
        api_key = None if self.scope is None else world.keys[self.scope]
        client = Client(life.server, api_key, self.token, self.device, listener, address=self.address)
        headers = dict(self.headers) | ({} if self.key is None else {"idempotency-key": self.key})
        return await client.call(self.method, self.target, self.body, raw=self.raw, headers=headers)
