"""How a command reaches what it works on: the daemon's operator's listener while one runs, else the store itself.

Either way the very same endpoints answer: over the socket in the daemon, on the store in this process. So a command
does the same, and says the same, with the daemon up and down.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from config.settings import Settings
from handlers.call import JSON_TYPE, ListenerKind, RawRequest
from handlers.operator_deeds import COMMAND_LINE
from handlers.operator_routes import OPERATOR_ENDPOINTS
from handlers.router import Router
from handlers.serve import Server
from storage.clock import SystemClock
from storage.data_folder import STORE_FILE, check_folder
from storage.engine import StorageError
from storage.open import open_inline_engine
from storage.schema.events import EVENT_CODEC
from ticketd.app import Outside, Place, build_services
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import OPERATOR_KEY_VARIABLE
from ticketd.first_start import prepare_store
from ticketd.ports.closed import ClosedGateway, ClosedMailer
from ticketd.tree import SOCKET_FILE

_TIMEOUT_SECONDS: Final = 60
_JSON_HEADERS: Final = {"content-type": JSON_TYPE}

Json = dict[str, object]


class OperatorError(msgspec.Struct, frozen=True):
    """What an error answer says."""

    code: str
    message: str
    details: Json = {}


class OperatorRefused(CommandFailed):
    """An operator's call was refused."""

    def __init__(self, error: OperatorError) -> None:
        told = [f"{name}: {_shown(value)}" for name, value in error.details.items()]
        super().__init__(" ".join([error.message, *([f"({'; '.join(told)})"] if told else [])]))
        self.error = error


class OperatorAnswer(msgspec.Struct, frozen=True):
    """The answer to a call: its status and its body."""

    status: int
    body: bytes


class Backend(Protocol):
    """What answers an operator's calls."""

    @property
    def is_daemon(self) -> bool:
        """Whether a running daemon answers."""

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        """Sends one call. Raises CommandFailed if no answer comes."""


class _ErrorForm(msgspec.Struct, frozen=True):
    error: OperatorError


def call(backend: Backend, method: str, target: str, body: object = None) -> bytes:
    """The body of a call's answer. ``body`` is sent as JSON, bytes as they are. Raises OperatorRefused."""
    sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    answer = backend.send(method, target, sent)
    if answer.status < 400:
        return answer.body
    try:
        raise OperatorRefused(msgspec.json.decode(answer.body, type=_ErrorForm).error)
    except msgspec.MsgspecError:
        raise CommandFailed(f"the daemon answered with the status {answer.status}") from None


@contextmanager
def open_backend(settings: Settings, *, create: bool = False) -> Iterator[Backend]:
    """The daemon of the data folder if it answers, else its store. ``create`` makes a folder that is not there yet.

    Refuses with CommandFailed if the daemon cannot be called, and with StorageError what opening the store refuses; a
    folder without a store, too, unless ``create`` is set.
    """
    daemon = _find_daemon(settings)
    if daemon is not None:
        yield daemon
        return
    data = Path(settings.storage.data)
    if not create:
        check_folder(data)
        if not (data / STORE_FILE).exists():
            raise StorageError(f"the data folder {data} holds no store")
    clock = SystemClock()
    with open_inline_engine(data, settings.storage, clock, EVENT_CODEC) as engine:
        trio.run(prepare_store, engine, clock.now_ms())
        outside = Outside(gateway=ClosedGateway(), mailer=ClosedMailer())
        place = Place(data=data, public_url=settings.server.public_url)
        services = build_services(settings, place, engine, clock, outside)
        yield _Store(Server(services, Router(OPERATOR_ENDPOINTS)))


class _Store:
    """Answers calls in this process, on the store that it owns."""

    is_daemon = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        async def read_body(limit: int) -> bytes:
            if len(body) > limit:
                raise CommandFailed(f"at most {limit} bytes can be read, and these are {len(body)}")
            return body

        path, _, query = target.partition("?")
        request = RawRequest(
            method=method,
            path=path,
            query=query,
            headers=_JSON_HEADERS,
            client=COMMAND_LINE,
            listener=ListenerKind.OPERATOR,
            read_body=read_body,
        )
        reply = trio.run(partial(self._server.answer_request, request))
        return OperatorAnswer(reply.status, reply.body)


class _Daemon:
    """Answers calls over a daemon's operator's listener."""

    is_daemon = True

    def __init__(self, where: str, connection: http.client.HTTPConnection) -> None:
        self._where = where
        self._connection = connection

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        headers = dict(_JSON_HEADERS)
        if key := os.environ.get(OPERATOR_KEY_VARIABLE):
            headers["x-api-key"] = key
        try:
            self._connection.request(method, target, body, headers)
            response = self._connection.getresponse()
            return OperatorAnswer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise CommandFailed(f"the daemon at {self._where} did not answer: {reason}") from error


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_TIMEOUT_SECONDS)
            sock.connect(os.fspath(self._path))
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _find_daemon(settings: Settings) -> _Daemon | None:
    """The daemon, if its operator's listener takes a connection; None if nobody is there."""
    if bind := settings.server.operator_bind:
        host, _, port = bind.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_TIMEOUT_SECONDS)
        daemon = _Daemon(bind, connection)
    else:
        path = Path(settings.storage.data) / SOCKET_FILE
        connection = _UnixConnection(path)
        daemon = _Daemon(str(path), connection)
    try:
        connection.connect()
    except PermissionError as error:
        where = settings.server.operator_bind or Path(settings.storage.data) / SOCKET_FILE
        raise CommandFailed(f"{where} cannot be opened: {error.strerror}") from error
    except OSError:
        return None
    return daemon


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
