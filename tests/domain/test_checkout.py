from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.engine import Transaction
from storage.schema.ids import PaymentMethodId, ReservationId
from storage.schema.layout import ENTRIES
from storage.schema.records import OrderRecord, PurchaseRecord, ReplyPlace, ReservationRecord
from storage.schema.states import EntryState, OrderState, PaymentState, ReservationState, SeatState
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, OPENS_MS, order_id
from tests.domain.order_stage import (
    BILLING,
    CLIENT_SECRET,
    FREEZE_MS,
    REDIRECT,
    RESUME_MS,
    OrderStage,
    begin_command,
    card_id,
    orders,
)
from tests.domain.refusals import refused
from ticketd.domain.checkout import BeginCheckout, begin_checkout
from ticketd.domain.event_cancellation import CancelEvent, cancel_event
from ticketd.errors import ErrorCode

REPLY = ReplyPlace(digest=b"d" * 32, fingerprint=b"f" * 32, request_id="r-1")


async def hold_of(stage: OrderStage, *names: str, user: int = 1) -> ReservationRecord:
    await stage.add_card(user)
    return await stage.reserve(user, *stage.seats(*names))


def beginning(command: BeginCheckout, tx: Transaction) -> OrderRecord:
    return begin_checkout(tx, command)


# --- beginning ------------------------------------------------------------------------------------------------------


async def test_the_amounts_are_the_holds_to_the_cent(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1", "Floor/A/2", "Floor/A/3")
        assert (order.subtotal_minor, order.fees_minor, order.taxes_minor) == (150_000, 22_500, 13_500)
        assert (order.total_minor, order.currency, order.refund_minor) == (186_000, "USD", 0)


async def test_a_begun_payment_freezes_the_hold_and_is_looked_at_again(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1", "Floor/A/2")
        stage.clock.at_ms += 1000
        order = await stage.begin(1, hold)
        assert (order.state, order.payment_state) == (OrderState.INTENT, PaymentState.STARTED)
        assert (order.seats, order.reservation_id, order.entry_id) == (
            hold.seats,
            hold.reservation_id,
            hold.entry_id,
        )
        assert (order.method_ref, order.payment_method_id, order.billing_address) == (
            "pm_1",
            card_id(1),
            BILLING,
        )
        assert order.created_at_ms == OPENS_MS + 1000
        assert order.due_at_ms == OPENS_MS + 1000 + RESUME_MS
        assert [(line.what, line.session_id) for line in order.trail] == [("payment begun", "session-1")]
        frozen = stage.reservation(hold.reservation_id)
        assert (frozen.state, frozen.order_id) == (ReservationState.PAYING, order_id(1))
        assert stage.state("Floor/A/1") is SeatState.RESERVED
        assert not stage.is_listed()
        stage.check()


@pytest.mark.parametrize("left_ms", [1, FREEZE_MS - 1, FREEZE_MS, FREEZE_MS + 1])
async def test_the_hold_lasts_for_the_freeze_or_to_its_own_end_if_that_is_later(
    tmp_path: Path, left_ms: int
) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        stage.clock.at_ms = hold.expires_at_ms - left_ms
        await stage.begin(1, hold)
        frozen = stage.reservation(hold.reservation_id)
        assert frozen.due_at_ms == stage.clock.at_ms + max(left_ms, FREEZE_MS)
        assert frozen.expires_at_ms == hold.expires_at_ms, "what the buyer was told stays"


async def test_a_hold_that_is_over_cannot_be_paid(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        stage.clock.at_ms = hold.expires_at_ms
        await refused(ErrorCode.RESERVATION_EXPIRED, stage.begin(1, hold))
        await stage.expire()
        await refused(ErrorCode.RESERVATION_EXPIRED, stage.begin(1, hold))
        stage.check()


async def test_what_is_not_the_buyers_hold_is_not_found(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        await refused(ErrorCode.RESERVATION_NOT_FOUND, stage.begin(2, hold))
        unknown = replace(hold, reservation_id=ReservationId(order_id(9)))
        await refused(ErrorCode.RESERVATION_NOT_FOUND, stage.begin(1, unknown))
        await stage.release(1, hold.reservation_id)
        await refused(ErrorCode.RESERVATION_NOT_FOUND, stage.begin(1, hold))


async def test_one_hold_has_one_payment_at_a_time_and_one_order(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        await stage.begin(1, hold, order=1)
        for step in ("", "authorised", "confirmed"):
            if step:
                await stage.take(step)
            refusal = await refused(ErrorCode.ORDER_EXISTS, stage.begin(1, hold, order=2))
            assert refusal.details == {"order_id": str(order_id(1))}
        stage.check()


async def test_the_card_must_be_the_buyers_own_and_of_the_gateway_in_use(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await stage.reserve(1, stage.seat("Floor/A/1"))
        await stage.add_card(2)
        command = begin_command(1, hold)
        for card in (card_id(1), card_id(2), PaymentMethodId(order_id(9))):
            other = replace(command, payment_method_id=card)
            await refused(
                ErrorCode.INVALID_PAYMENT_METHOD,
                stage.decide(1, partial(beginning, other)),
            )
        await stage.add_card(1, gateway="another")
        await refused(
            ErrorCode.INVALID_PAYMENT_METHOD, stage.decide(1, lambda tx: begin_checkout(tx, command))
        )
        assert stage.reservation(hold.reservation_id) == hold


async def test_the_hold_is_judged_before_the_card(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await stage.reserve(1, stage.seat("Floor/A/1"))
        stage.clock.at_ms = hold.expires_at_ms
        command = begin_command(1, hold)
        await refused(ErrorCode.RESERVATION_EXPIRED, stage.decide(1, lambda tx: begin_checkout(tx, command)))


async def test_nobody_pays_for_an_event_that_was_cancelled(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        command = begin_command(1, hold)
        await refused(ErrorCode.SALE_ENDED, stage.decide(1, lambda tx: begin_checkout(tx, command)))
        assert stage.reservation(hold.reservation_id).state is ReservationState.HELD


@pytest.mark.parametrize(
    ("said", "payment"),
    [("authorised", PaymentState.AUTHORIZED), ("action", PaymentState.REQUIRES_ACTION)],
)
async def test_what_was_begun_before_the_event_was_cancelled_is_sold_to_nobody(
    tmp_path: Path, said: str, payment: PaymentState
) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        await stage.begin(1, hold)
        await stage.run(lambda tx: cancel_event(tx, CancelEvent(EVENT_ID)))
        order = await stage.take(said)
        assert (order.state, order.payment_state) == (OrderState.FAILED, payment)
        assert order.due_at_ms == stage.clock.at_ms, "its money is freed"
        assert stage.reservation(hold.reservation_id).state is ReservationState.HELD


async def test_a_second_try_of_the_same_request_is_told_to_wait(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        first = begin_command(1, hold, 1, reply=REPLY)
        await stage.decide(1, lambda tx: begin_checkout(tx, first))
        for reply, code in (
            (REPLY, ErrorCode.IDEMPOTENCY_KEY_IN_USE),
            (replace(REPLY, request_id="r-2"), ErrorCode.IDEMPOTENCY_KEY_IN_USE),
            (replace(REPLY, fingerprint=b"g" * 32), ErrorCode.IDEMPOTENCY_KEY_REUSED),
            (replace(REPLY, digest=b"e" * 32), ErrorCode.ORDER_EXISTS),
            (None, ErrorCode.ORDER_EXISTS),
        ):
            again = begin_command(1, hold, 2, reply=reply)
            await refused(code, stage.decide(1, partial(beginning, again)))


# --- the money is set aside -----------------------------------------------------------------------------------------


async def test_authorised_sells_the_seats_and_ends_the_place_in_the_room(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1", "Floor/A/2")
        order = await stage.take("authorised")
        assert (order.payment_ref, order.due_at_ms) == ("pi_1", stage.clock.at_ms)
        assert stage.reservation(order.reservation_id).state is ReservationState.ORDERED
        assert stage.state("Floor/A/1") is stage.state("Floor/A/2") is SeatState.SOLD
        assert stage.purchases(1) == PurchaseRecord(bought=2)
        entry = stage.read(lambda reader: ENTRIES.get(reader, stage.partition, order.entry_id))
        assert entry is not None
        assert entry.state is EntryState.DONE
        assert stage.is_listed()
        stage.check()


async def test_a_frozen_hold_can_be_sold_until_it_is_swept(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        stage.clock.at_ms = stage.reservation(order.reservation_id).due_at_ms
        assert (await stage.take("authorised")).state is OrderState.PENDING
        await stage.expire()
        stage.check()


async def test_authorised_after_the_seats_went_to_another_fails_and_leaves_the_money_to_be_voided(
    tmp_path: Path,
) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        stage.clock.at_ms = stage.reservation(order.reservation_id).due_at_ms
        await stage.expire()
        await stage.reserve(2, stage.seat("Floor/A/1"))
        late = await stage.take("authorised")
        assert (late.state, late.payment_state) == (OrderState.FAILED, PaymentState.AUTHORIZED)
        assert (late.payment_ref, late.due_at_ms) == ("pi_1", stage.clock.at_ms)
        assert stage.state("Floor/A/1") is SeatState.RESERVED
        assert not stage.is_listed()
        stage.check()


async def test_the_late_answer_to_one_payment_does_not_take_the_hold_from_the_next(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        first = await stage.intent("Floor/A/1", order=1)
        await stage.take("no answer")
        second = await stage.begin(1, stage.reservation(first.reservation_id), order=2)
        await stage.take("found", order=1)
        assert stage.reservation(second.reservation_id).order_id == order_id(2)
        await stage.take("authorised", order=2)
        await stage.take("voided", order=1)
        assert stage.order(2).state is OrderState.PENDING
        stage.check()


async def test_a_hold_that_is_kept_for_another_payment_is_no_longer_this_ones(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        first = await stage.intent("Floor/A/1", order=1)
        await stage.thaw(first.reservation_id)  # as no step does while the first is open
        await stage.begin(1, stage.reservation(first.reservation_id), order=2)
        assert (await stage.take("authorised", order=1)).state is OrderState.FAILED
        assert stage.reservation(first.reservation_id).order_id == order_id(2)
        assert (await stage.take("authorised", order=2)).state is OrderState.PENDING
        stage.check()


# --- no money -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["refused", "unreachable", "no answer"])
async def test_the_hold_lives_on_to_its_own_end_after_a_payment_that_came_to_nothing(
    tmp_path: Path, step: str
) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        stage.clock.at_ms = hold.expires_at_ms - 1000
        await stage.begin(1, hold)
        stage.clock.at_ms += 999
        failed = await stage.take(step)
        assert failed.state is OrderState.FAILED
        # Only where nobody refused the buyer is the hold's end not theirs to answer for.
        assert stage.reservation(hold.reservation_id) == replace(hold, excused=step != "refused")
        assert not stage.is_listed()
        again = await stage.begin(1, hold, order=2)
        assert again.state is OrderState.INTENT
        stage.check()


async def test_a_decline_tells_its_code(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        failed = await stage.take("refused")
        assert (failed.decline_code, failed.due_at_ms) == ("generic_decline", None)
        assert failed.trail[-1].what == "refused: generic_decline"


async def test_a_decline_after_the_holds_end_leaves_it_ended(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        stage.clock.at_ms = stage.reservation(order.reservation_id).due_at_ms
        await stage.expire()
        assert (await stage.take("refused")).state is OrderState.FAILED
        assert stage.reservation(order.reservation_id).state is ReservationState.EXPIRED
        stage.check()


async def test_an_answer_that_was_lost_is_asked_for_later_and_a_refused_call_never(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1", order=1)
        lost = await stage.take("no answer", order=1)
        assert (lost.payment_state, lost.due_at_ms) == (PaymentState.STARTED, OPENS_MS + 5_000)
        await stage.intent("Floor/A/2", order=2)
        never = await stage.take("unreachable", order=2)
        assert (never.payment_state, never.due_at_ms) == (PaymentState.FAILED, None)


# --- the buyer has to act -------------------------------------------------------------------------------------------


async def test_a_payment_that_needs_the_buyer_keeps_the_hold_to_its_own_end(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        stage.clock.at_ms = hold.expires_at_ms - 10_000
        await stage.begin(1, hold)
        order = await stage.take("action")
        assert (order.state, order.payment_state) == (OrderState.PENDING, PaymentState.REQUIRES_ACTION)
        assert (order.payment_ref, order.redirect_url, order.client_secret) == (
            "pi_1",
            REDIRECT,
            CLIENT_SECRET,
        )
        kept = stage.reservation(hold.reservation_id)
        assert (kept.state, kept.due_at_ms) == (ReservationState.PAYING, hold.expires_at_ms)
        assert order.due_at_ms == stage.clock.at_ms + 5_000
        assert stage.is_listed()
        stage.check()


@pytest.mark.parametrize("past_ms", [0, 1, 30_000])
async def test_there_is_no_time_to_act_after_the_holds_end(tmp_path: Path, past_ms: int) -> None:
    async with orders(tmp_path) as stage:
        hold = await hold_of(stage, "Floor/A/1")
        stage.clock.at_ms = hold.expires_at_ms - 10
        await stage.begin(1, hold)
        stage.clock.at_ms = hold.expires_at_ms + past_ms
        late = await stage.take("action")
        assert (late.state, late.payment_state) == (OrderState.FAILED, PaymentState.REQUIRES_ACTION)
        assert (late.due_at_ms, late.redirect_url, late.client_secret) == (stage.clock.at_ms, None, None)
        assert not stage.is_listed()
        await stage.expire()
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        stage.check()


async def test_the_buyer_acted(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        sold = await stage.take("authorised")
        assert (sold.state, sold.redirect_url, sold.client_secret) == (OrderState.PENDING, None, None)
        assert stage.state("Floor/A/1") is SeatState.SOLD
        stage.check()


async def test_the_buyer_failed_and_may_try_again(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        await stage.take("action")
        failed = await stage.take("refused")
        assert (failed.state, failed.redirect_url, failed.client_secret) == (OrderState.FAILED, None, None)
        again = await stage.begin(1, stage.reservation(order.reservation_id), order=2)
        assert again.state is OrderState.INTENT
        stage.check()


async def test_waiting_ends_with_the_hold_not_before(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        await stage.take("woken")
        stage.clock.at_ms = OPENS_MS + HOLD_MS - 1
        waiting = await stage.take("await")
        assert (waiting.state, waiting.due_at_ms) == (OrderState.PENDING, OPENS_MS + HOLD_MS)
        stage.clock.at_ms += 1
        over = await stage.take("await")
        assert (over.state, over.payment_state) == (OrderState.FAILED, PaymentState.REQUIRES_ACTION)
        await stage.expire()
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        stage.check()


async def test_waiting_ends_where_the_hold_was_swept_first(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        stage.clock.at_ms = OPENS_MS + HOLD_MS
        await stage.expire()
        stage.check()
        assert (await stage.take("await")).state is OrderState.FAILED
        stage.check()
