"""Mails that wait to be sent: a record each, and the index of when to try next, in step.

A mail is queued in the commit that gives cause for it, and removed in the commit that follows its sending. Who sends
it, and how long is waited between tries, is the mails task's.
"""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import MailQueued
from storage.schema.ids import EventId
from storage.schema.layout import DUE_MAILS, MAILS, event_partition
from storage.schema.records import MailRecord


def queue_mail(tx: Transaction, event_id: EventId, mail: MailRecord) -> None:
    """Writes a new mail; it is sent from ``due_at_ms`` on."""
    partition = event_partition(event_id)
    MAILS.put(tx, mail, partition, mail.mail_id)
    DUE_MAILS.add(tx, partition, mail.due_at_ms, mail.mail_id)
    tx.emit(partition, MailQueued(event_id=event_id, due_at_ms=mail.due_at_ms))


def remove_mail(tx: Transaction, event_id: EventId, mail_id: UUID) -> None:
    """Takes a mail out of the queue, since it was sent or has lost its cause. One that is not there is no error."""
    partition = event_partition(event_id)
    mail = MAILS.get(tx, partition, mail_id)
    if mail is not None:
        DUE_MAILS.remove(tx, partition, mail.due_at_ms, mail_id)
        MAILS.delete(tx, partition, mail_id)


def put_off_mail(tx: Transaction, event_id: EventId, mail_id: UUID, delay_ms: int) -> None:
    """Counts a try that came to nothing; the mail is due again after ``delay_ms``. One that is gone is no error."""
    partition = event_partition(event_id)
    mail = MAILS.get(tx, partition, mail_id)
    if mail is not None:
        later = replace(mail, due_at_ms=tx.now_ms + delay_ms, tries=mail.tries + 1)
        DUE_MAILS.remove(tx, partition, mail.due_at_ms, mail_id)
        MAILS.put(tx, later, partition, mail_id)
        DUE_MAILS.add(tx, partition, later.due_at_ms, mail_id)


def next_mail_ms(reader: Reader, event_id: EventId) -> int | None:
    """When the event's next mail is due; None if none waits."""
    for due_at_ms, _ in DUE_MAILS.scan(reader, event_partition(event_id), limit=1):
        if isinstance(due_at_ms, int):
            return due_at_ms
    return None


def due_mails(reader: Reader, event_id: EventId, now_ms: int, limit: int) -> list[MailRecord]:
    """The mails that are due by ``now_ms``, the longest due first, at most ``limit``."""
    partition = event_partition(event_id)
    found = (
        MAILS.get(reader, partition, mail_id)
        for _, mail_id in DUE_MAILS.until(reader, partition, now_ms, limit)
    )
    return [mail for mail in found if mail is not None]
