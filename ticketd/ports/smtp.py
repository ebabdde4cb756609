"""Mail over SMTP (RFC 5321), by the standard library's client in a thread, one connection for each message.

Nothing is sent in the clear when encryption was asked for. A refusal that is the operator's to mend (a wrong
password, no STARTTLS, a sender the server does not know) is for now, so that no mail is lost by it; only one
that is about this message or its recipient is for good.
"""

from __future__ import annotations

import enum
import smtplib
import ssl
from collections.abc import Callable
from typing import Final

import msgspec
import trio

from ticketd.ports.mail import Letter, MailRefused, MailUnavailable, Message, Sender, compose

_MOST_CONNECTIONS: Final = 4
_STEPS_OF_A_CONVERSATION: Final = 3


class SmtpSecurity(enum.StrEnum):
    """How the connection is encrypted: after a greeting in the clear, from the first byte, or not at all."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class SmtpServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to hand mail over. Without a ``username`` there is no login.

    ``timeout_seconds`` bounds each wait for the server; three times as much, the whole conversation.
    """

    host: str
    port: int
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    username: str | None = None
    password: str = ""
    timeout_seconds: float = 20.0

    def __repr__(self) -> str:
        return f"SmtpServer({self.host}:{self.port}, {self.security.value})"


class SmtpMailer:
    """Sends through one server, at most four messages at a time.

    ``now_ms`` tells milliseconds UTC. ``tls`` is by default the system's trust, with the host's name checked.
    """

    def __init__(
        self,
        server: SmtpServer,
        *,
        sender: Sender,
        now_ms: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._now_ms = now_ms
        self._tls = ssl.create_default_context() if tls is None else tls
        self._thread_limit = trio.CapacityLimiter(_MOST_CONNECTIONS)

    async def send(self, message: Message) -> None:
        """As Mailer.send. A call that is cancelled leaves its conversation to end by itself: the mail may
        still go out."""
        letter = compose(message, self._sender, self._now_ms())
        try:
            with trio.fail_after(self._server.timeout_seconds * _STEPS_OF_A_CONVERSATION):
                await trio.to_thread.run_sync(
                    self._converse, letter, limiter=self._thread_limit, abandon_on_cancel=True
                )
        except trio.TooSlowError as error:
            raise MailUnavailable(f"{self._server} did not finish in time") from error

    def _converse(self, letter: Letter) -> None:
        try:
            with self._connect() as connection:
                if self._server.security is SmtpSecurity.STARTTLS:
                    connection.starttls(context=self._tls)
                if self._server.username is not None:
                    connection.login(self._server.username, self._server.password)
                _hand_over(connection, letter)
        except smtplib.SMTPResponseException as error:
            # Refused here: the greeting, the encryption, the login, the sender. Nothing of this message.
            raise MailUnavailable(f"{self._server} refused: {_said(error)}") from error
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise MailUnavailable(f"{self._server}: {error}") from error

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.security is SmtpSecurity.TLS:
            return smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_seconds, context=self._tls
            )
        return smtplib.SMTP(server.host, server.port, timeout=server.timeout_seconds)


def _hand_over(connection: smtplib.SMTP, letter: Letter) -> None:
    try:
        options = () if letter.sender.isascii() and letter.recipient.isascii() else ("SMTPUTF8",)
        connection.sendmail(letter.sender, letter.recipient, letter.content, mail_options=options)
    except smtplib.SMTPRecipientsRefused as error:
        for code, said in error.recipients.values():
            if code >= 500:
                raise MailRefused(f"the recipient was refused: {code} {_readable(said)}") from error
        raise
    except smtplib.SMTPDataError as error:
        if error.smtp_code >= 500:
            raise MailRefused(f"the message was refused: {_said(error)}") from error
        raise
    except smtplib.SMTPNotSupportedError as error:
        raise MailRefused("the server takes no address with other letters than ASCII (RFC 6531)") from error


def _said(error: smtplib.SMTPResponseException) -> str:
    return f"{error.smtp_code} {_readable(error.smtp_error)}"


def _readable(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
