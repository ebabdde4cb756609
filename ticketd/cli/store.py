"""Operators' calls on a store that no daemon has open: answered in this process, by the daemon's own endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from config.settings import Settings
from handlers.call import ListenerKind, RawRequest
from handlers.operator_deeds import COMMAND_LINE
from handlers.operator_routes import OPERATOR_ENDPOINTS
from handlers.router import Router
from handlers.serve import Server
from storage.clock import SystemClock
from storage.data_folder import STORE_FILE, check_folder, exposures
from storage.engine import StorageError
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from ticketd.app import Outside, Place, build_services
from ticketd.cli.backend import JSON_HEADERS, OperatorAnswer
from ticketd.cli.failures import tell
from ticketd.cli.visits import VisitedGateway
from ticketd.errors import ErrorCode, Refusal
from ticketd.first_start import prepare_store
from ticketd.ports.closed import ClosedMailer
from ticketd.tasks.timekeeper import credit_time_down


class StoreBackend:
    """Answers calls on the store that this process owns."""

    is_daemon = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        """The answer that a daemon's operator's socket would give."""

        async def read_body(limit: int) -> bytes:
            if len(body) > limit:
                raise Refusal(ErrorCode.BODY_TOO_LARGE, details={"max_bytes": limit})
            return body

        path, _, query = target.partition("?")
        request = RawRequest(
            method=method,
            path=path,
            query=query,
            headers=JSON_HEADERS,
            client=COMMAND_LINE,
            listener=ListenerKind.OPERATOR,
            read_body=read_body,
        )
        reply = trio.run(partial(self._server.answer_request, request))
        return OperatorAnswer(reply.status, reply.body)


@contextmanager
def open_store(settings: Settings, *, create: bool) -> Iterator[StoreBackend]:
    """The store of the data folder; made, with its signing keys, if ``create`` is set and there is none.

    That it was made, and that others may read it, is told on standard error. Refuses with StorageError what
    ``storage.open`` refuses, and a folder without a store unless ``create`` is set.
    """
    data = Path(settings.storage.data)
    is_new = not (data / STORE_FILE).exists()
    if not create:
        check_folder(data)
        if is_new:
            raise StorageError(f"the data folder {data} holds no store")
    clock = SystemClock()
    with open_inline_engine(data, settings.storage, clock, EVENT_CODEC) as engine:
        trio.run(partial(credit_time_down, engine, begins=False))
        trio.run(prepare_store, engine, clock.now_ms(), settings.payments.gateway)
        if is_new:
            # Where the folder was mistyped, what is made in it opens nothing.
            tell(f"a new store was made at {data / STORE_FILE}")
        for sentence in exposures(data):
            tell(f"warning: {sentence}")
        outside = Outside(gateway=VisitedGateway(settings, data, clock), mailer=ClosedMailer())
        place = Place(data=data, public_url=settings.server.public_url)
        services = build_services(settings, place, engine, clock, outside)
        yield StoreBackend(Server(services, Router(OPERATOR_ENDPOINTS)))
