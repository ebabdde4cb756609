"""The daemon without sockets and threads: real LMDB under the inline writer, all tasks, and a client that speaks to
``handlers.serve.Server`` as a front would. Time is a Trio clock's, so a test under ``MockClock`` moves both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
import trio

from config.settings import RateLimitSettings, Settings, StorageSettings
from handlers.call import ListenerKind, RawRequest
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from handlers.services import Services
from storage.clock import TrioClock
from storage.engine import Command, Engine
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.layout import SYSTEM
from storage.schema.records import ApiKeyRecord
from ticketd.app import Outside, Place, build_services
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, new_api_key
from ticketd.domain.keys import add_api_key
from ticketd.errors import ErrorCode, Refusal
from ticketd.first_start import prepare_store
from ticketd.ports.mail import Sender
from ticketd.ports.outbox import OutboxMailer
from ticketd.ports.payments import PaymentGateway
from ticketd.ports.sandbox_payments import SandboxGateway
from ticketd.tasks.timekeeper import credit_time_down
from ticketd.tree import run_tasks

START_MS: Final = 1_784_000_000_000
"""2026-07-14T03:33:20Z: the time at which a test begins."""
PUBLIC_URL: Final = "http://tickets.test"
DEVICE: Final = "device-1"
NO_RATE_LIMITS: Final = RateLimitSettings(enabled=False)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


@dataclass
class Client:
    """A caller with an API key and, perhaps, a token and a device."""

    server: Server
    api_key: str | None
    token: str | None = None
    device: str | None = DEVICE
    listener: ListenerKind = ListenerKind.PUBLIC
    extra: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def with_token(self, token: str | None, device: str | None = DEVICE) -> Client:
        """The same caller with another token."""
        return Client(self.server, self.api_key, token, device, self.listener, dict(self.extra), self.address)

    async def call(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request: ``body`` as JSON, ``raw`` as it is. ``headers`` (lower case) win; an empty one removes."""
        sent: dict[str, str] = dict(self.extra)
        if self.api_key is not None:
            sent["x-api-key"] = self.api_key
        if self.token is not None:
            sent["authorization"] = f"Bearer {self.token}"
        if self.device is not None:
            sent["x-device-id"] = self.device
        data = raw if raw is not None else (b"" if body is None else msgspec.json.encode(body))
        if data:
            sent["content-type"] = "application/json"
        sent.update(headers or {})
        path, _, query = target.partition("?")

        async def read_body(limit: int) -> bytes:
            await trio.lowlevel.checkpoint()
            if len(data) > limit:
                raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
            return data

        reply = await self.server.answer_request(
            RawRequest(
                method=method,
                path=path,
                query=query,
                headers={name: value for name, value in sent.items() if value},
                client=self.address,
                listener=self.listener,
                read_body=read_body,
            )
        )
        got = {"content-type": reply.content_type} if reply.content_type else {}
        return Answer(reply.status, reply.body, got | {name.lower(): value for name, value in reply.headers})

    async def get(self, target: str, **more: Any) -> Answer:
        return await self.call("GET", target, **more)

    async def post(self, target: str, body: object = None, **more: Any) -> Answer:
        return await self.call("POST", target, body, **more)

    async def delete(self, target: str, **more: Any) -> Answer:
        return await self.call("DELETE", target, **more)


@dataclass
class Daemon:
    """A running daemon of a test, and the keys to it."""

    services: Services
    server: Server
    data: Path
    keys: dict[Scope, str]

    def client(self, scope: Scope = Scope.STOREFRONT) -> Client:
        """A caller with a key of this scope, without a token."""
        return Client(self.server, self.keys[scope])

    def operator(self) -> Client:
        """A caller on the operator's Unix socket."""
        return Client(self.server, None, device=None, listener=ListenerKind.OPERATOR)

    async def user(self, user_id: UUID | None = None) -> Client:
        """A buyer with a user token."""
        made = await self.client().post("/v1/sessions", {"user_id": str(user_id or uuid4())})
        return self.client().with_token(made.json["token"])


async def add_key(engine: Engine, scope: Scope, now_ms: int, random: bytes) -> str:
    """Creates an API key and answers its text."""
    text, fields = new_api_key(random, scope, scope.value, now_ms)
    record = ApiKeyRecord(
        key_id=fields.key_id,
        scope=fields.scope.value,
        name=fields.name,
        secret_hash=fields.secret_sha256,
        created_at_ms=fields.created_at_ms,
    )
    await engine.submit(Command("add_api_key", (SYSTEM,), lambda tx: add_api_key(tx, record)))
    return text


@asynccontextmanager
async def open_daemon(
    data: Path,
    settings: Settings | None = None,
    *,
    gateway: Callable[[PaymentGateway], PaymentGateway] | None = None,
    start_ms: int = START_MS,
) -> AsyncIterator[Daemon]:
    """The daemon over the folder ``data``, with its tasks running until the block ends; ended so, it has been killed.

    Without ``settings`` no rate limit is in force: a test asks far more of one caller than a sale does.
    ``gateway`` wraps the sandbox in another one, such as FaultyGateway. ``start_ms`` is when its clock begins: later,
    for another daemon over the same folder.
    """
    settings = settings or Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024),
        rate_limits=NO_RATE_LIMITS,
    )
    clock = TrioClock(start_ms)
    with open_inline_engine(data, settings.storage, clock, EVENT_CODEC, synced=False) as engine:
        await credit_time_down(engine)
        await prepare_store(engine, clock.now_ms(), settings.payments.gateway)
        keys = {
            scope: await add_key(engine, scope, clock.now_ms(), bytes([number]) * API_KEY_RANDOM_BYTES)
            for number, scope in enumerate(Scope)
        }
        sandbox = SandboxGateway(
            data / "sandbox.sqlite", now_ms=clock.now_ms, public_url=PUBLIC_URL, inline=True
        )
        mailer = OutboxMailer(
            data / "outbox", sender=Sender("tickets@localhost"), now_ms=clock.now_ms, inline=True
        )
        outside = Outside(gateway=gateway(sandbox) if gateway else sandbox, sandbox=sandbox, mailer=mailer)
        services = build_services(settings, Place(data=data, public_url=PUBLIC_URL), engine, clock, outside)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(run_tasks, services, mailer)
                yield Daemon(services, Server(services, Router(ENDPOINTS)), data, keys)
                nursery.cancel_scope.cancel()
        finally:
            outside.close()
