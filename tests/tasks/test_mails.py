from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
import structlog.testing
import trio
from trio.testing import MockClock

from storage.clock import TrioClock
from storage.engine import Transaction
from storage.schema.records import MailRecord
from tests.domain.ticket_stage import EVENT_ID, OPENS_MS, SENDER, TicketStage, open_stage
from ticketd.domain.mails import due_mails, next_mail_ms, put_off_mail, queue_mail, remove_mail
from ticketd.ports.mail import MailRefused, MailUnavailable, Message, Sender
from ticketd.ports.outbox import OutboxMailer
from ticketd.tasks.deadlines import run_due_work
from ticketd.tasks.mails import (
    BATCH,
    FIRST_DELAY_MS,
    LONGEST_DELAY_MS,
    mail_delivery,
    message_of,
    retry_delay_ms,
)


@dataclass
class Postman:
    """A mailer that fails as it is told to."""

    clock: TrioClock
    troubles: list[Exception] = field(default_factory=list)
    tried: list[tuple[int, Message]] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    takes_seconds: float = 0

    async def send(self, message: Message) -> None:
        self.tried.append((self.clock.now_ms() - OPENS_MS, message))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await trio.sleep(self.takes_seconds)
        self.under_way -= 1
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append(message)


@pytest.fixture
async def clock(autojump_clock: MockClock) -> TrioClock:
    """The time of a test; Trio takes the clock that jumps only if the test itself asks for it."""
    return TrioClock(OPENS_MS)


@pytest.fixture
async def stage(tmp_path: Path, clock: TrioClock) -> AsyncIterator[TicketStage]:
    with open_stage(tmp_path, clock) as stage:
        await stage.put_event()
        yield stage


def mail(number: int, due_at_ms: int = OPENS_MS) -> MailRecord:
    return MailRecord(
        mail_id=UUID(int=number),
        to=f"person{number}@example.com",
        to_name="A Person",
        subject="A subject",
        text="A text\n",
        due_at_ms=due_at_ms,
    )


async def queue(stage: TicketStage, *mails: MailRecord) -> None:
    def run_all(tx: Transaction) -> None:
        for each in mails:
            queue_mail(tx, EVENT_ID, each)

    await stage.run((), run_all)


async def deliver(stage: TicketStage, postman: Postman, seconds: float) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(run_due_work, stage.engine, postman.clock, mail_delivery(stage.engine, postman))
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def test_a_queued_mail_is_sent_once(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock
) -> None:
    postman = Postman(clock)
    (ticket_id,) = await stage.buy(SENDER, 1, "Floor/A/1")
    async with trio.open_nursery() as nursery:
        await nursery.start(run_due_work, stage.engine, clock, mail_delivery(stage.engine, postman))
        transfer = await stage.offer(SENDER, ticket_id)
        await trio.sleep(86_400)
        nursery.cancel_scope.cancel()
    (message,) = postman.taken
    assert len(postman.tried) == 1
    assert (message.to, message.to_name) == ("friend@example.com", "John Doe")
    assert message.message_id == str(transfer.transfer_id)
    assert "/claim?" in message.text
    assert stage.mails() == []
    stage.check()


async def test_a_mail_is_tried_again_ever_more_slowly(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock
) -> None:
    postman = Postman(clock, troubles=[MailUnavailable("later")] * 3)
    await queue(stage, mail(1))
    await deliver(stage, postman, 1000)
    assert [at_ms for at_ms, _ in postman.tried] == [0, 10_000, 30_000, 70_000]
    assert len({message.message_id for _, message in postman.tried}) == 1
    assert len(postman.taken) == 1
    assert stage.mails() == []


def test_the_delays_grow_to_an_hour() -> None:
    delays = [retry_delay_ms(tries) for tries in range(40)]
    assert delays[0] == FIRST_DELAY_MS
    assert delays == sorted(delays)
    assert delays[8] < delays[9] == LONGEST_DELAY_MS == delays[-1]


async def test_a_mail_that_is_refused_is_dropped_without_a_name(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock
) -> None:
    postman = Postman(clock, troubles=[MailRefused("550 <person1@example.com> is unknown")])
    await queue(stage, mail(1))
    with structlog.testing.capture_logs() as logs:
        await deliver(stage, postman, 1000)
    assert len(postman.tried) == 1
    assert stage.mails() == []
    (dropped,) = [line for line in logs if line["event"] == "mail_dropped"]
    assert dropped["log_level"] == "error"
    assert "550" in dropped["problem"]
    assert "person1" not in str(logs)


async def test_one_that_fails_keeps_no_other_waiting(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock
) -> None:
    postman = Postman(clock, troubles=[MailUnavailable("later")])
    await queue(stage, mail(1), mail(2), mail(3, OPENS_MS + 2000))
    await deliver(stage, postman, 5)
    assert len(postman.taken) == 2
    (left,) = stage.mails()
    assert (left.tries, left.due_at_ms) == (1, OPENS_MS + FIRST_DELAY_MS)


@pytest.mark.parametrize(("waiting", "at_once"), [(BATCH - 1, BATCH - 1), (BATCH, BATCH), (BATCH + 1, BATCH)])
async def test_so_many_are_under_way_at_once(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock, waiting: int, at_once: int
) -> None:
    postman = Postman(clock, takes_seconds=1)
    await queue(stage, *(mail(number) for number in range(waiting)))
    await deliver(stage, postman, 10)
    assert postman.most_under_way == at_once
    assert len(postman.taken) == waiting


async def test_a_mail_without_a_cause_any_more_is_not_sent(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock
) -> None:
    postman = Postman(clock, troubles=[MailUnavailable("later")])
    (ticket_id,) = await stage.buy(SENDER, 1, "Floor/A/1")
    transfer = await stage.offer(SENDER, ticket_id)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_due_work, stage.engine, clock, mail_delivery(stage.engine, postman))
        await trio.sleep(1)
        await stage.cancel(SENDER, transfer.transfer_id)
        await trio.sleep(86_400)
        nursery.cancel_scope.cancel()
    assert (len(postman.tried), postman.taken) == (1, [])
    stage.check()


async def test_a_death_between_sending_and_commit_writes_no_second_file(
    autojump_clock: MockClock, stage: TicketStage, clock: TrioClock, tmp_path: Path
) -> None:
    def mailer() -> OutboxMailer:
        return OutboxMailer(
            tmp_path / "outbox", sender=Sender("tickets@localhost"), now_ms=clock.now_ms, inline=True
        )

    await queue(stage, mail(1))
    await mailer().send(message_of(mail(1)))
    async with trio.open_nursery() as nursery:
        await nursery.start(run_due_work, stage.engine, clock, mail_delivery(stage.engine, mailer()))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert len(list((tmp_path / "outbox").glob("*.eml"))) == 1
    assert stage.mails() == []


async def test_the_queue_of_mails(autojump_clock: MockClock, stage: TicketStage) -> None:
    await queue(stage, mail(1, OPENS_MS + 5), mail(2, OPENS_MS + 3))
    assert stage.read(lambda reader: next_mail_ms(reader, EVENT_ID)) == OPENS_MS + 3

    def due(at_ms: int, limit: int = 9) -> list[int]:
        found = stage.read(lambda reader: due_mails(reader, EVENT_ID, at_ms, limit))
        return [each.mail_id.int for each in found]

    assert due(OPENS_MS + 2) == []
    assert due(OPENS_MS + 3) == [2]
    assert due(OPENS_MS + 5) == [2, 1]
    assert due(OPENS_MS + 5, limit=1) == [2]
    await stage.run((), lambda tx: put_off_mail(tx, EVENT_ID, UUID(int=2), 100))
    assert due(OPENS_MS + 99) == [1]
    await stage.run((), lambda tx: remove_mail(tx, EVENT_ID, UUID(int=1)))
    await stage.run((), lambda tx: remove_mail(tx, EVENT_ID, UUID(int=1)))
    await stage.run((), lambda tx: put_off_mail(tx, EVENT_ID, UUID(int=1), 100))
    assert due(OPENS_MS + 200) == [2]
    await stage.run((), lambda tx: remove_mail(tx, EVENT_ID, UUID(int=2)))
    assert stage.read(lambda reader: next_mail_ms(reader, EVENT_ID)) is None
