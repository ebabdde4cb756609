"""Mail over SMTP, against a real server."""

from __future__ import annotations

import email
import socket
import ssl
from email.policy import default

import pytest
import trio
import trio.testing
import trustme

from tests.ports.smtp_server import (
    PASSWORD,
    USERNAME,
    Received,
    RunningSmtpServer,
    SmtpBehaviour,
    running_smtp_server,
)
from tests.ports.test_mail import NOW_MS, SENDER, message
from ticketd.ports.mail import Mailer, MailRefused, MailUnavailable, Message
from ticketd.ports.smtp import SmtpMailer, SmtpSecurity, SmtpServer

AUTHORITY = trustme.CA()


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def mailer_to(
    server: RunningSmtpServer,
    security: SmtpSecurity = SmtpSecurity.NONE,
    *,
    password: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> SmtpMailer:
    return SmtpMailer(
        SmtpServer(
            host="127.0.0.1",
            port=server.port,
            security=security,
            username=None if password is None else USERNAME,
            password=password or "",
            timeout_seconds=10,
        ),
        sender=SENDER,
        now_ms=lambda: NOW_MS,
        tls=client_tls() if tls is None else tls,
    )


async def sent_to(behaviour: SmtpBehaviour, sent: Message) -> list[Received]:
    """What a server took of a message sent without encryption."""
    with running_smtp_server(behaviour) as server:
        mailer: Mailer = mailer_to(server)
        await mailer.send(sent)
    return server.received


async def test_a_message_arrives() -> None:
    sent = message(to_name="Zoë", subject="Ein Platz für dich", text=".\nHallo Zoë\n.\n")
    (received,) = await sent_to(SmtpBehaviour(), sent)
    assert (received.sender, received.recipients) == ("tickets@venue.example", ("ada@example.com",))
    assert (received.encrypted, received.logged_in) == (False, False)
    mail = email.message_from_bytes(received.content, policy=default)
    assert str(mail["to"]) == "Zoë <ada@example.com>"
    assert mail["subject"] == "Ein Platz für dich"
    assert mail.get_content().split() == [".", "Hallo", "Zoë", "."]
    assert mail["message-id"] == "<m-1@venue.example>"


async def test_starttls_and_login() -> None:
    with running_smtp_server(SmtpBehaviour(starttls=server_tls(), login=True)) as server:
        await mailer_to(server, SmtpSecurity.STARTTLS, password=PASSWORD).send(message())
    (received,) = server.received
    assert (received.encrypted, received.logged_in) == (True, True)


async def test_tls_from_the_first_byte() -> None:
    with running_smtp_server(SmtpBehaviour(tls=server_tls())) as server:
        await mailer_to(server, SmtpSecurity.TLS).send(message())
    (received,) = server.received
    assert received.encrypted


async def test_without_starttls_nothing_goes_out_in_the_clear() -> None:
    with running_smtp_server(SmtpBehaviour()) as server, pytest.raises(MailUnavailable, match="STARTTLS"):
        await mailer_to(server, SmtpSecurity.STARTTLS).send(message())
    assert server.received == []


@pytest.mark.parametrize("security", [SmtpSecurity.STARTTLS, SmtpSecurity.TLS])
async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(security: SmtpSecurity) -> None:
    starttls = server_tls() if security is SmtpSecurity.STARTTLS else None
    tls = server_tls() if security is SmtpSecurity.TLS else None
    with (
        running_smtp_server(SmtpBehaviour(starttls=starttls, tls=tls)) as server,
        pytest.raises(MailUnavailable, match="certificate verify failed"),
    ):
        await mailer_to(server, security, tls=ssl.create_default_context()).send(message())
    assert server.received == []


async def test_a_wrong_password_is_for_now_and_is_told_nobody() -> None:
    with running_smtp_server(SmtpBehaviour(starttls=server_tls(), login=True)) as server:
        mailer = mailer_to(server, SmtpSecurity.STARTTLS, password="hunter2")
        with pytest.raises(MailUnavailable, match="535") as caught:
            await mailer.send(message())
    assert "hunter2" not in repr(caught.value)
    assert "hunter2" not in repr(SmtpServer(host="h", port=25, username="u", password="hunter2"))
    assert server.received == []


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("RCPT", "550 5.1.1 no such person", MailRefused),
        ("RCPT", "500 what", MailRefused),
        ("RCPT", "499 later", MailUnavailable),
        ("RCPT", "450 mailbox is busy", MailUnavailable),
        ("DATA", "554 looks like spam", MailRefused),
        ("DATA", "500 what", MailRefused),
        ("DATA", "499 later", MailUnavailable),
        ("DATA", "452 disk is full", MailUnavailable),
        ("MAIL", "550 who are you", MailUnavailable),
        ("MAIL", "451 later", MailUnavailable),
    ],
)
async def test_what_a_refusal_means(command: str, answer: str, expected: type[Exception]) -> None:
    with pytest.raises(expected, match=answer[:3]):
        await sent_to(SmtpBehaviour(refusals={command: answer}), message())


async def test_an_address_in_other_letters_needs_a_server_that_takes_it() -> None:
    sent = message(to="zoë@bücher.example")
    (received,) = await sent_to(SmtpBehaviour(), sent)
    assert received.recipients == ("zoë@xn--bcher-kva.example",)
    with pytest.raises(MailRefused, match="RFC 6531"):
        await sent_to(SmtpBehaviour(international=False), sent)
    (received,) = await sent_to(SmtpBehaviour(international=False), message(to="zoe@bücher.example"))
    assert received.recipients == ("zoe@xn--bcher-kva.example",)


async def test_a_message_out_of_form_is_refused_before_the_server_is_asked() -> None:
    nowhere = SmtpServer(host="127.0.0.1", port=1)
    with pytest.raises(MailRefused):
        await SmtpMailer(nowhere, sender=SENDER, now_ms=lambda: NOW_MS).send(message(to="a\r\nDATA"))


async def test_nobody_listening_is_for_now() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = RunningSmtpServer(bound.getsockname()[1], [])
        with pytest.raises(MailUnavailable, match="refused"):
            await mailer_to(closed).send(message())


async def test_a_server_that_says_nothing_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    # The clock jumps over the whole conversation's time while the thread waits for a greeting in real time.
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(MailUnavailable, match="in time"):
        await mailer_to(RunningSmtpServer(silent.getsockname()[1], [])).send(message())


async def test_a_cancelled_call_does_not_wait_for_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mailer = mailer_to(RunningSmtpServer(silent.getsockname()[1], []))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailer.send, message())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


async def test_a_greeting_that_is_none_is_for_now() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        async with trio.open_nursery() as nursery:

            async def greet() -> None:
                connection, _ = await trio.to_thread.run_sync(other.accept)
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            nursery.start_soon(greet)
            with pytest.raises(MailUnavailable):
                await mailer_to(RunningSmtpServer(other.getsockname()[1], [])).send(message())
