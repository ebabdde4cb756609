"""A real little SMTP server for tests, on 127.0.0.1 and a free port, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERNAME = "daemon"
PASSWORD = "correct horse"


class Received(msgspec.Struct, frozen=True):
    """A message that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    logged_in: bool


class SmtpBehaviour(msgspec.Struct, kw_only=True):
    """How the server behaves. ``refusals`` has the answer to a command instead of the usual one, by its name."""

    starttls: ssl.SSLContext | None = None
    tls: ssl.SSLContext | None = None
    login: bool = False  # Only with starttls: the server takes no password in the clear.
    international: bool = True
    refusals: dict[str, str] = {}


class _Handler:
    def __init__(self, behaviour: SmtpBehaviour) -> None:
        self._refusals = behaviour.refusals
        self.received: list[Received] = []

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name and form
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self._refusals.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and form
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self._refusals:
            return self._refusals["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if "DATA" in self._refusals:
            return self._refusals["DATA"]
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        self.received.append(
            Received(
                envelope.mail_from,
                tuple(envelope.rcpt_tos),
                envelope.content,
                server.transport is not None and server.transport.get_extra_info("sslcontext") is not None,
                session.authenticated is True,
            )
        )
        return "250 OK"


class RunningSmtpServer(msgspec.Struct, frozen=True):
    """Where the server listens, and what it took so far."""

    port: int
    received: list[Received]


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
) -> AuthResult:
    right = (given.login, given.password) == (USERNAME.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextlib.contextmanager
def running_smtp_server(behaviour: SmtpBehaviour) -> Iterator[RunningSmtpServer]:
    """The server, listening until the block ends."""
    handler = _Handler(behaviour)
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(
            handler,
            loop=loop,
            hostname="127.0.0.1",
            tls_context=behaviour.starttls,
            require_starttls=behaviour.starttls is not None,
            authenticator=_authenticate if behaviour.login else None,
            auth_required=behaviour.login,
            auth_require_tls=True,
            enable_SMTPUTF8=behaviour.international,
        )

    server = loop.run_until_complete(
        loop.create_server(protocol, host="127.0.0.1", port=0, ssl=behaviour.tls)
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield RunningSmtpServer(server.sockets[0].getsockname()[1], handler.received)
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        await asyncio.wait([task])
