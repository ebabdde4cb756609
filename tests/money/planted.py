"""Bugs that lose money, each planted in a copy of the tree, and the test of this folder that must fail of it.

It is not collected with the other tests: ``scripts/money-matrix --planted`` runs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from tests.support.planting import Plant, assert_found

PLANTS: Final[dict[str, Plant]] = {
    "acknowledge before commit": Plant(
        file="ticketd/tasks/placing.py",
        right="        answer = await self.record(begin.event_id, begun, outcome)\n",
        wrong="        with self._engine.snapshot() as view:\n"
        "            body = self._answers.created(view, begin.event_id, begun)\n"
        "        answer: PlacedAnswer | Refusal = PlacedAnswer(status=201, body=body)\n",
        test="test_deaths.py::test_what_was_answered_is_in_the_store_of_a_daemon_that_dies_at_once",
        told="OrderState.INTENT",
    ),
    "no idempotency key": Plant(
        file="ticketd/tasks/gateway_calls.py",
        right='f"{order.order_id}:authorise"',
        wrong='f"{order.order_id}:{trio.current_time()}"',
        test="test_deaths.py::"
        "test_killed_at_every_point_money_and_tickets_agree_and_nobody_else_gets_the_seats",
        told="authorised",
    ),
    "capture before sale": Plant(
        file="ticketd/ports/stripe_payments.py",
        right='"capture_method": "manual"',
        wrong='"capture_method": "automatic"',
        test="test_stories.py::test_four_clicks_of_which_three_lose_their_answer_are_one_charge",
        told="succeeded",
    ),
    "refund written down and not asked for": Plant(
        file="ticketd/tasks/settling.py",
        right="            outcome = await self._calls.refund(order, settled_minor)\n",
        wrong='            outcome = Refunded("re_unasked", order.refund_minor)\n',
        test="test_webhooks.py::test_however_events_are_delivered_orders_end_as_they_should[never]",
        told="at the gateway",
    ),
    "sale to a payment that its event's cancellation met": Plant(
        file="ticketd/domain/checkout.py",
        right="    is_cancelled = load_sale(tx, step.event_id).cancelled\n",
        wrong="    is_cancelled = False\n",
        test="test_ends.py::test_a_cancelled_event_gives_all_money_back_once_however_often_the_daemon_dies",
        told="cancelled-event-is-over",
    ),
    "refund of what the bank has taken": Plant(
        file="ticketd/domain/cancellation.py",
        right="    elif order.dispute in WITH_BANK:\n",
        wrong="    elif order.dispute in ():\n",
        test="test_ends.py::test_a_chargeback_is_learned_from_the_gateway_whoever_tells_of_it",
        told="KeyError: 'error'",
    ),
    "authorisation kept though its seats are somebody else's": Plant(
        file="ticketd/domain/settlement.py",
        right="    (OrderState.FAILED, PaymentState.AUTHORIZED): Move.VOID,\n",
        wrong="    (OrderState.FAILED, PaymentState.AUTHORIZED): Move.NOTHING,\n",
        test="test_ends.py::test_whatever_runs_out_before_the_daemon_dies_nobody_pays_for_nothing",
        told="still under way",
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(tmp_path: Path, name: str) -> None:
    plant = PLANTS[name]
    assert_found(replace(plant, test=f"tests/money/{plant.test}"), tmp_path / "tree")
