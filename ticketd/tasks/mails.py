"""Mails on their way: each is handed to the mailer when it is due, and removed once it was taken.

A mail that could not be handed over is tried again, at first soon, then ever more slowly, for as long as it has a
cause. One that is refused for good is dropped, and the log says so without saying to whom. A process that dies between
the sending and the commit sends the mail once more, under the same message id.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog
import trio

from storage.engine import Command, Engine, Transaction
from storage.schema.events import MailQueued
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from storage.schema.records import MailRecord
from ticketd.domain.mails import due_mails, next_mail_ms, put_off_mail, remove_mail
from ticketd.ports.mail import Mailer, MailRefused, MailUnavailable, Message
from ticketd.tasks.deadlines import DueWork

BATCH: Final = 16
"""Most mails of an event that are under way at once. The mailer may take fewer at a time."""
FIRST_DELAY_MS: Final = 10_000
LONGEST_DELAY_MS: Final = 3_600_000

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def mail_delivery(engine: Engine, mailer: Mailer) -> DueWork:
    """The work of sending mails, for ``run_due_work``."""

    async def step(event_id: EventId) -> None:
        with engine.snapshot(event_partition(event_id)) as view:
            mails = due_mails(view, event_id, view.now_ms, BATCH)
        delays: dict[UUID, int | None] = {}
        async with trio.open_nursery() as nursery:
            for mail in mails:
                nursery.start_soon(_send, mailer, mail, delays)

        def run(tx: Transaction) -> None:
            for mail_id, delay_ms in delays.items():
                if delay_ms is None:
                    remove_mail(tx, event_id, mail_id)
                else:
                    put_off_mail(tx, event_id, mail_id, delay_ms)

        command = Command("settle_mails", (event_partition(event_id),), run, may_use_reserve=True)
        await engine.submit(command)

    return DueWork(name="mail_delivery", peek=next_mail_ms, step=step, concerns=_concerns)


def retry_delay_ms(tries: int) -> int:
    """How long to wait after a try that came to nothing; ``tries`` is how many did so before, from 0."""
    return min(FIRST_DELAY_MS << min(tries, 20), LONGEST_DELAY_MS)


def message_of(mail: MailRecord) -> Message:
    """The message of a stored mail, the same whenever it is sent."""
    return Message(
        to=mail.to,
        to_name=mail.to_name,
        subject=mail.subject,
        text=mail.text,
        message_id=str(mail.mail_id),
    )


async def _send(mailer: Mailer, mail: MailRecord, delays: dict[UUID, int | None]) -> None:
    """Tries a mail once and notes after how long to try again; None if it is done with."""
    delays[mail.mail_id] = None
    try:
        await mailer.send(message_of(mail))
    except MailUnavailable as problem:
        delay_ms = delays[mail.mail_id] = retry_delay_ms(mail.tries)
        _log.warning(
            "mail_put_off",
            mail_id=str(mail.mail_id),
            tries=mail.tries + 1,
            delay_seconds=delay_ms // 1000,
            problem=_without_address(problem, mail),
        )
    except MailRefused as problem:
        _log.error("mail_dropped", mail_id=str(mail.mail_id), problem=_without_address(problem, mail))


def _without_address(problem: Exception, mail: MailRecord) -> str:
    """What a server said, without the recipient whom it may have named."""
    return str(problem).replace(mail.to, "(the recipient)")


def _concerns(event: object) -> EventId | None:
    return event.event_id if isinstance(event, MailQueued) else None
