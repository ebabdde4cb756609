"""What the steps of a payment leave behind, beyond the states that ``test_order_states`` walks."""

from __future__ import annotations

from pathlib import Path

from storage.schema.events import TicketsIssued
from storage.schema.states import OrderState, PaymentState, SeatState, TicketState
from tests.domain.inventory_stage import order_id, user_id
from tests.domain.order_stage import confirm_command, orders


async def test_confirming_issues_one_ticket_a_seat_in_the_same_commit(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/2", "Floor/A/1")
        await stage.take("authorised")
        stage.clock.at_ms += 30_000
        confirmed = await stage.take("confirmed")
        command = confirm_command(order_id(1), 2, 1)
        assert confirmed.ticket_ids == command.ticket_ids
        assert (confirmed.confirmed_at_ms, confirmed.due_at_ms) == (stage.clock.at_ms, None)
        tickets = {ticket.ticket_id: ticket for ticket in stage.tickets()}
        assert [tickets[ticket_id].seat for ticket_id in confirmed.ticket_ids] == list(order.seats)
        for ticket in tickets.values():
            assert (ticket.order_id, ticket.holder_id, ticket.kid) == (order_id(1), user_id(1), command.kid)
            assert ticket.state is TicketState.ACTIVE
        assert sum(isinstance(change, TicketsIssued) for change in stage.changes) == 1
        stage.check()


async def test_confirming_twice_issues_nothing_new(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("authorised")
        first = await stage.take("confirmed")
        stage.clock.at_ms += 1
        assert await stage.take("confirmed") == first
        assert len(stage.tickets()) == 1


async def test_a_refused_capture_puts_the_seats_back_on_sale(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1", "Floor/A/2")
        await stage.take("authorised")
        failed = await stage.take("capture refused")
        assert (failed.state, failed.due_at_ms) == (OrderState.FAILED, None)
        assert stage.state("Floor/A/1") is SeatState.AVAILABLE
        assert stage.purchases(1) is None
        assert stage.is_listed(), "its buyer was told of it"
        await stage.reserve(2, *stage.seats("Floor/A/1", "Floor/A/2"))
        stage.check()


async def test_money_that_was_taken_for_an_order_that_is_over_is_all_due_back(tmp_path: Path) -> None:
    async with orders(tmp_path, refund_fees=False) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("no answer")
        await stage.take("found")
        await stage.take("put off")
        owing = await stage.take("owed")
        assert (owing.refund_minor, owing.due_at_ms, owing.tries) == (62_000, stage.clock.at_ms, 0)
        assert owing.payment_state is PaymentState.REFUND_PENDING


async def test_tries_are_counted_until_the_next_move(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        for tries in (1, 2, 3):
            later = await stage.take("put off")
            assert (later.tries, later.due_at_ms) == (tries, stage.clock.at_ms + 7_000)
            stage.clock.at_ms += 7_000
        for step in ("authorised", "confirmed"):
            assert (await stage.take(step)).tries == 0
            stage.check()


async def test_waking_makes_due_at_once_and_keeps_the_tries(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.take("action")
        await stage.take("put off")
        stage.clock.at_ms += 1
        woken = await stage.take("woken")
        assert (woken.due_at_ms, woken.tries) == (stage.clock.at_ms, 1)
        assert woken.payment_state is PaymentState.REQUIRES_ACTION
        stage.check()
