from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from storage.schema.events import MailQueued, TicketsIssued, TransferMoved
from storage.schema.ids import TicketId, TransferId
from storage.schema.layout import TRANSFERS
from storage.schema.records import TransferRecord
from storage.schema.states import OrderState, TicketState, TransferState
from tests.domain.refusals import refused
from tests.domain.ticket_stage import (
    DATE_MS,
    EVENT_ID,
    OPENS_MS,
    RECIPIENT,
    SENDER,
    STRANGER,
    TRANSFER_MS,
    TicketStage,
    order_id,
    tickets_stage,
    user_id,
)
from ticketd.domain.transfers import (
    claim_hash_of,
    event_of_transfer,
    find_offer,
    find_sent_transfer,
    is_open,
    next_transfer_expiry_ms,
)
from ticketd.errors import ErrorCode
from ticketd.tickets.code import MAX_ISSUE

TOKEN = "t" * 43
WRONG_TOKENS = ("", "t" * 42, "t" * 44, "T" * 43, "ü", "\ud800")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[TicketStage]:
    with tickets_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
async def ticket_id(stage: TicketStage) -> TicketId:
    await stage.put_event()
    return (await stage.buy(SENDER, 1, "Floor/A/1"))[0]


End = Callable[[TicketStage, TransferId], Awaitable[object]]
ENDS: dict[TransferState, End] = {
    TransferState.ACCEPTED: lambda stage, transfer_id: stage.accept(RECIPIENT, transfer_id),
    TransferState.DECLINED: lambda stage, transfer_id: stage.decline(RECIPIENT, transfer_id),
    TransferState.CANCELLED: lambda stage, transfer_id: stage.cancel(SENDER, transfer_id),
}


async def test_an_offer_leaves_the_ticket_good_and_queues_its_mail(
    stage: TicketStage, ticket_id: TicketId
) -> None:
    before = stage.ticket(ticket_id)
    transfer = await stage.offer(SENDER, ticket_id)
    after = stage.ticket(ticket_id)
    assert (after.state, after.transfer_id) == (TicketState.TRANSFER_PENDING, transfer.transfer_id)
    assert (after.barcode, after.issue, after.kid) == (before.barcode, before.issue, before.kid)
    assert transfer == stage.transfer(transfer.transfer_id)
    assert transfer.state is TransferState.PENDING
    assert transfer.expires_at_ms == OPENS_MS + TRANSFER_MS
    (mail,) = stage.mails()
    assert (mail.to, mail.to_name, mail.mail_id) == (
        "friend@example.com",
        "John Doe",
        transfer.transfer_id,
    )
    assert f"token={TOKEN}" in mail.text
    assert "A Night of Tests" in mail.subject
    assert "Section Floor, row A, seat 1" in mail.text
    assert stage.changes[-2:] == [
        TransferMoved(
            event_id=EVENT_ID,
            transfer_id=transfer.transfer_id,
            ticket_id=ticket_id,
            state=TransferState.PENDING,
            due_at_ms=transfer.expires_at_ms,
        ),
        MailQueued(event_id=EVENT_ID, due_at_ms=OPENS_MS),
    ]
    stage.check()


async def test_only_the_hash_of_the_claim_token_is_in_the_transfer(
    stage: TicketStage, ticket_id: TicketId
) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    assert TOKEN.encode() not in TRANSFERS.encode(transfer)
    assert transfer.claim_hash == claim_hash_of(TOKEN)


@pytest.mark.parametrize(
    ("left_ms", "stands_ms"),
    [(TRANSFER_MS + 1, TRANSFER_MS), (TRANSFER_MS, TRANSFER_MS), (TRANSFER_MS - 1, TRANSFER_MS - 1), (1, 1)],
)
async def test_an_offer_ends_when_the_event_starts(
    stage: TicketStage, ticket_id: TicketId, left_ms: int, stands_ms: int
) -> None:
    stage.clock.at_ms = DATE_MS - left_ms
    transfer = await stage.offer(SENDER, ticket_id)
    assert transfer.expires_at_ms == stage.clock.at_ms + stands_ms


async def test_accepting_ends_one_code_and_begins_the_next(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    before = stage.ticket(ticket_id)
    new = await stage.accept(RECIPIENT, transfer.transfer_id)
    old, ended = stage.ticket(ticket_id), stage.transfer(transfer.transfer_id)
    assert (old.state, old.transfer_id) == (TicketState.TRANSFERRED, transfer.transfer_id)
    assert new == stage.ticket(new.ticket_id)
    assert (new.holder_id, new.issue, new.state) == (user_id(RECIPIENT), 2, TicketState.ACTIVE)
    assert (new.seat, new.order_id, new.kid) == (before.seat, before.order_id, "ffffffff")
    assert new.barcode != before.barcode
    assert new.transfer_id is None
    assert (ended.state, ended.recipient_id, ended.new_ticket_id) == (
        TransferState.ACCEPTED,
        user_id(RECIPIENT),
        new.ticket_id,
    )
    assert ended.ended_at_ms == OPENS_MS
    assert stage.mails() == []
    issued = [change for change in stage.changes if isinstance(change, TicketsIssued)]
    assert issued[-1].ticket_ids == (new.ticket_id,)
    assert issued[-1].order_id == order_id(1)
    stage.check()


async def test_a_sender_may_accept_for_a_new_code(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    new = await stage.accept(SENDER, transfer.transfer_id)
    assert new.holder_id == user_id(SENDER)
    assert stage.ticket(ticket_id).state is TicketState.TRANSFERRED
    stage.check()


async def test_the_recipient_may_hand_the_ticket_on(stage: TicketStage, ticket_id: TicketId) -> None:
    first = await stage.offer(SENDER, ticket_id)
    new = await stage.accept(RECIPIENT, first.transfer_id)
    await refused(ErrorCode.TICKET_NOT_FOUND, stage.offer(SENDER, new.ticket_id))
    second = await stage.offer(RECIPIENT, new.ticket_id)
    last = await stage.accept(STRANGER, second.transfer_id)
    assert (last.issue, last.holder_id) == (3, user_id(STRANGER))
    stage.check()


@pytest.mark.parametrize("state", [TransferState.DECLINED, TransferState.CANCELLED])
async def test_an_offer_that_ends_frees_the_ticket(
    stage: TicketStage, ticket_id: TicketId, state: TransferState
) -> None:
    before = stage.ticket(ticket_id)
    transfer = await stage.offer(SENDER, ticket_id)
    await ENDS[state](stage, transfer.transfer_id)
    assert stage.ticket(ticket_id) == before
    assert stage.transfer(transfer.transfer_id).state is state
    assert stage.mails() == []
    stage.check()
    await stage.offer(SENDER, ticket_id)
    stage.check()


async def test_who_may_not_offer_a_ticket(stage: TicketStage, ticket_id: TicketId) -> None:
    await refused(ErrorCode.TICKET_NOT_FOUND, stage.offer(STRANGER, ticket_id))
    await refused(ErrorCode.TICKET_NOT_FOUND, stage.offer(SENDER, TicketId(stage.new_id())))


async def test_a_second_offer_of_a_ticket_is_refused(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    before = stage.everything()
    refusal = await refused(ErrorCode.TRANSFER_PENDING, stage.offer(SENDER, ticket_id))
    assert refusal.details == {"transfer_id": str(transfer.transfer_id)}
    assert stage.everything() == before


async def test_a_ticket_that_cannot_be_offered(stage: TicketStage, ticket_id: TicketId) -> None:
    async def reason() -> object:
        before = stage.everything()
        refusal = await refused(ErrorCode.TICKET_NOT_TRANSFERABLE, stage.offer(SENDER, ticket_id))
        assert stage.everything() == before
        return refusal.details["reason"]

    await stage.plant(ticket_id, issue=MAX_ISSUE)
    assert await reason() == "TOO_MANY_ISSUES"
    stage.clock.at_ms = DATE_MS
    assert await reason() == "EVENT_STARTED"
    await stage.change_sale(cancelled=True)
    assert await reason() == "EVENT_CANCELLED"
    await stage.change_order(1, state=OrderState.CANCELLED)
    assert await reason() == "ORDER_NOT_CONFIRMED"
    await stage.plant(ticket_id, state=TicketState.VOID)
    assert await reason() == "TICKET_VOID"
    await stage.plant(ticket_id, state=TicketState.USED)
    assert await reason() == "TICKET_USED"


async def test_a_ticket_that_went_to_another_cannot_be_offered_again(
    stage: TicketStage, ticket_id: TicketId
) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    await stage.accept(RECIPIENT, transfer.transfer_id)
    refusal = await refused(ErrorCode.TICKET_NOT_TRANSFERABLE, stage.offer(SENDER, ticket_id))
    assert refusal.details == {"reason": "TICKET_TRANSFERRED"}


@pytest.mark.parametrize("token", WRONG_TOKENS)
async def test_a_wrong_token_finds_nothing(stage: TicketStage, ticket_id: TicketId, token: str) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    before = stage.everything()
    for end in (stage.accept, stage.decline):
        await refused(ErrorCode.TRANSFER_NOT_FOUND, end(RECIPIENT, transfer.transfer_id, token))
        await refused(ErrorCode.TRANSFER_NOT_FOUND, end(RECIPIENT, TransferId(stage.new_id())))
    assert stage.everything() == before


async def test_only_the_sender_takes_an_offer_back(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    await refused(ErrorCode.TRANSFER_NOT_FOUND, stage.cancel(RECIPIENT, transfer.transfer_id))
    await refused(ErrorCode.TRANSFER_NOT_FOUND, stage.cancel(SENDER, TransferId(stage.new_id())))


@pytest.mark.parametrize("again", ENDS)
@pytest.mark.parametrize("state", ENDS)
async def test_what_has_ended_stays_ended(
    stage: TicketStage, ticket_id: TicketId, state: TransferState, again: TransferState
) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    await ENDS[state](stage, transfer.transfer_id)
    before = stage.everything()
    refusal = await refused(ErrorCode.TRANSFER_EXPIRED, ENDS[again](stage, transfer.transfer_id))
    assert refusal.details == {"status": state.value}
    assert stage.everything() == before


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("early_ms", "stands"), [(1, True), (0, False), (-1, False)])
async def test_the_end_of_an_offers_time(
    stage: TicketStage, ticket_id: TicketId, end: TransferState, early_ms: int, stands: bool
) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    stage.clock.at_ms = transfer.expires_at_ms - early_ms
    if stands:
        await ENDS[end](stage, transfer.transfer_id)
        assert stage.transfer(transfer.transfer_id).state is end
    else:
        refusal = await refused(ErrorCode.TRANSFER_EXPIRED, ENDS[end](stage, transfer.transfer_id))
        assert refusal.details == {"status": "EXPIRED"}


async def test_an_offer_does_not_outlive_its_cause(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)

    def open_still(record: TransferRecord = transfer) -> bool:
        return stage.read(lambda reader: is_open(reader, EVENT_ID, record, stage.clock.at_ms))

    assert open_still()
    await stage.change_sale(date_ms=OPENS_MS)
    assert not open_still()
    await refused(ErrorCode.TRANSFER_EXPIRED, stage.accept(RECIPIENT, transfer.transfer_id))
    await stage.change_sale(date_ms=OPENS_MS + 1, cancelled=True)
    assert not open_still()
    await stage.change_sale(cancelled=False)
    assert open_still()
    await stage.plant(ticket_id, state=TicketState.USED)
    assert not open_still()


async def test_offers_run_out_in_bounded_batches(stage: TicketStage) -> None:
    await stage.put_event()
    tickets = await stage.buy(SENDER, 1, "Floor/A/1", "Floor/A/2", "Floor/A/3")
    transfers: list[TransferRecord] = []
    for ticket_id in tickets:
        transfers.append(await stage.offer(SENDER, ticket_id))
        stage.clock.at_ms += 1000
    first_ms = transfers[0].expires_at_ms
    stage.clock.at_ms = first_ms - 1
    assert await stage.expire() == first_ms
    assert stage.ticket(tickets[0]).state is TicketState.TRANSFER_PENDING
    stage.clock.at_ms = first_ms + 1000
    assert await stage.expire(limit=1) == first_ms + 1000
    assert await stage.expire(limit=1) == first_ms + 2000
    stage.check()
    assert [stage.ticket(ticket_id).state for ticket_id in tickets] == [
        TicketState.ACTIVE,
        TicketState.ACTIVE,
        TicketState.TRANSFER_PENDING,
    ]
    assert stage.transfer(transfers[0].transfer_id).state is TransferState.EXPIRED
    stage.clock.at_ms = DATE_MS
    assert await stage.expire() is None
    assert stage.read(lambda reader: next_transfer_expiry_ms(reader, EVENT_ID)) is None


async def test_expiry_frees_no_ticket_that_was_used(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    await stage.plant(ticket_id, state=TicketState.USED)
    stage.clock.at_ms = transfer.expires_at_ms
    assert await stage.expire() is None
    assert stage.ticket(ticket_id).state is TicketState.USED


async def test_where_a_transfer_is_found(stage: TicketStage, ticket_id: TicketId) -> None:
    transfer = await stage.offer(SENDER, ticket_id)
    transfer_id = transfer.transfer_id

    async def locate(which: TransferId) -> None:
        stage.read(lambda reader: event_of_transfer(reader, which))

    assert stage.read(lambda reader: event_of_transfer(reader, transfer_id)) == EVENT_ID
    assert stage.read(lambda reader: find_offer(reader, EVENT_ID, transfer_id, TOKEN)) == transfer
    found = stage.read(lambda reader: find_sent_transfer(reader, user_id(SENDER), transfer_id))
    assert found == (EVENT_ID, transfer)
    await refused(ErrorCode.TRANSFER_NOT_FOUND, locate(TransferId(stage.new_id())))
