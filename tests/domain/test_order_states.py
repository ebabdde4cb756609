"""Every state of an order, reached by steps that lead there, against every step that can be taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.schema.events import OrderMoved
from storage.schema.ids import OrderId
from storage.schema.states import ORDER_MOVES, PAYMENT_MOVES, OrderState, PaymentState
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, order_id, user_id
from tests.domain.order_stage import STEPS, OrderStage, orders
from tests.domain.refusals import refused
from ticketd.domain.checkout import FIRST_LOOK_MS
from ticketd.domain.settlement import Move, next_move
from ticketd.errors import ErrorCode

S, P = OrderState, PaymentState
States = tuple[OrderState, PaymentState]

WAYS: dict[States, tuple[str, ...]] = {
    (S.INTENT, P.STARTED): (),
    (S.PENDING, P.AUTHORIZED): ("authorised",),
    (S.PENDING, P.REQUIRES_ACTION): ("action",),
    (S.CONFIRMED, P.CAPTURED): ("authorised", "confirmed"),
    (S.FAILED, P.FAILED): ("refused",),
    (S.FAILED, P.STARTED): ("no answer",),
    (S.FAILED, P.AUTHORIZED): ("no answer", "found"),
    (S.FAILED, P.REQUIRES_ACTION): ("action", "time passes", "await"),
    (S.FAILED, P.VOIDED): ("no answer", "found", "voided"),
    (S.FAILED, P.REFUND_PENDING): ("no answer", "found", "owed"),
    (S.FAILED, P.REFUNDED): ("no answer", "found", "owed", "refunded"),
    (S.CANCELLED, P.REQUIRES_ACTION): ("action", "cancel"),
    (S.CANCELLED, P.REFUND_PENDING): ("authorised", "confirmed", "cancel"),
    (S.CANCELLED, P.VOIDED): ("authorised", "cancel", "voided"),
    (S.CANCELLED, P.REFUNDED): ("authorised", "confirmed", "cancel", "refunded"),
}

MOVES: dict[States, dict[str, States]] = {
    (S.INTENT, P.STARTED): {
        "authorised": (S.PENDING, P.AUTHORIZED),
        "action": (S.PENDING, P.REQUIRES_ACTION),
        "refused": (S.FAILED, P.FAILED),
        "unreachable": (S.FAILED, P.FAILED),
        "no answer": (S.FAILED, P.STARTED),
    },
    (S.PENDING, P.REQUIRES_ACTION): {
        "authorised": (S.PENDING, P.AUTHORIZED),
        "refused": (S.FAILED, P.FAILED),
        "cancel": (S.CANCELLED, P.REQUIRES_ACTION),
    },
    (S.PENDING, P.AUTHORIZED): {
        "confirmed": (S.CONFIRMED, P.CAPTURED),
        "capture refused": (S.FAILED, P.FAILED),
        "cancel": (S.CANCELLED, P.REFUND_PENDING),
    },
    (S.CONFIRMED, P.CAPTURED): {"cancel": (S.CANCELLED, P.REFUND_PENDING)},
    (S.FAILED, P.STARTED): {"found": (S.FAILED, P.AUTHORIZED), "nothing lost": (S.FAILED, P.FAILED)},
    (S.FAILED, P.AUTHORIZED): {"voided": (S.FAILED, P.VOIDED), "owed": (S.FAILED, P.REFUND_PENDING)},
    (S.FAILED, P.REQUIRES_ACTION): {"voided": (S.FAILED, P.VOIDED), "owed": (S.FAILED, P.REFUND_PENDING)},
    (S.FAILED, P.REFUND_PENDING): {"refunded": (S.FAILED, P.REFUNDED)},
    (S.CANCELLED, P.REQUIRES_ACTION): {
        "voided": (S.CANCELLED, P.VOIDED),
        "owed": (S.CANCELLED, P.REFUND_PENDING),
    },
    # What was taken is given back; only what was merely set aside can be voided.
    (S.CANCELLED, P.REFUND_PENDING): {"refunded": (S.CANCELLED, P.REFUNDED)},
}
"""The steps that move an order from one pair of states to another. All other steps leave the states as they are."""

NEXT: dict[States, Move] = {
    (S.INTENT, P.STARTED): Move.AUTHORISE,
    (S.PENDING, P.REQUIRES_ACTION): Move.AWAIT_BUYER,
    (S.PENDING, P.AUTHORIZED): Move.CAPTURE,
    (S.FAILED, P.STARTED): Move.FIND_LOST,
    (S.FAILED, P.AUTHORIZED): Move.VOID,
    (S.FAILED, P.REQUIRES_ACTION): Move.VOID,
    (S.FAILED, P.REFUND_PENDING): Move.REFUND,
    (S.CANCELLED, P.REQUIRES_ACTION): Move.VOID,
    (S.CANCELLED, P.REFUND_PENDING): Move.REFUND,
}

NOT_LISTED = {(S.INTENT, P.STARTED), (S.FAILED, P.STARTED), (S.FAILED, P.AUTHORIZED), (S.FAILED, P.FAILED)}
DUE_STEPS = {"woken", "put off"}
ALL_STEPS = [*STEPS, "cancel"]


async def bring_to(stage: OrderStage, states: States) -> None:
    await stage.intent("Floor/A/1", "Floor/A/2")
    for step in WAYS[states]:
        if step == "time passes":
            stage.clock.at_ms += HOLD_MS
        elif step == "cancel":
            await stage.cancel()
        else:
            await stage.take(step)
    assert states_of(stage) == states


def states_of(stage: OrderStage) -> States:
    return stage.order().state, stage.order().payment_state


def refusal_of_cancel(states: States, stage: OrderStage) -> ErrorCode | None:
    if not stage.is_listed():
        return ErrorCode.ORDER_NOT_FOUND
    if states[0] is S.CANCELLED:
        return ErrorCode.ORDER_ALREADY_CANCELLED
    return ErrorCode.ORDER_NOT_CANCELLABLE if states[0] is S.FAILED else None


@pytest.mark.parametrize("step", ALL_STEPS)
@pytest.mark.parametrize("states", WAYS, ids="-".join)
async def test_each_step_from_each_state(tmp_path: Path, states: States, step: str) -> None:
    async with orders(tmp_path) as stage:
        await bring_to(stage, states)
        stage.check()
        before, stored, told = stage.order(), stage.everything(), len(stage.changes)
        stage.clock.at_ms += 1
        if step == "cancel":
            code = refusal_of_cancel(states, stage)
            await (stage.cancel() if code is None else refused(code, stage.cancel()))
        else:
            await stage.take(step)
        after = stage.order()
        assert states_of(stage) == MOVES.get(states, {}).get(step, states)
        assert next_move(after) is NEXT.get(states_of(stage), Move.NOTHING)
        if step in DUE_STEPS and states in NEXT:
            delay_ms = 7_000 if step == "put off" else 0
            assert after.due_at_ms == stage.clock.at_ms + delay_ms
            assert after.tries == before.tries + (step == "put off")
            assert after.trail == before.trail
        elif states_of(stage) == states and not (step == "await" and states in NEXT):
            assert stage.everything() == stored, "a step that does not apply changes nothing"
            assert len(stage.changes) == told
        stage.check()


@pytest.mark.parametrize("states", MOVES, ids="-".join)
async def test_each_move_is_told_and_put_into_the_trail_with_its_time(tmp_path: Path, states: States) -> None:
    for number, (step, ends) in enumerate(MOVES[states].items()):
        path = tmp_path / str(number)
        path.mkdir()
        async with orders(path) as stage:
            await bring_to(stage, states)
            trail = stage.order().trail
            stage.clock.at_ms += 5
            await (stage.cancel() if step == "cancel" else stage.take(step))
            after = stage.order()
            assert after.trail[:-1] == trail
            assert after.trail[-1].at_ms == stage.clock.at_ms
            assert after.trail[-1].what
            assert after.trail[-1].session_id == ("session-2" if step == "cancel" else "")
            moved = [change for change in stage.changes if isinstance(change, OrderMoved)][-1]
            assert moved == OrderMoved(
                event_id=EVENT_ID,
                order_id=OrderId(order_id(1)),
                user_id=user_id(1),
                state=ends[0],
                payment_state=ends[1],
                due_at_ms=after.due_at_ms,
            )


async def test_an_order_that_moves_on_is_due_at_once_or_at_rest(tmp_path: Path) -> None:
    for number, states in enumerate(states for states in WAYS if states[1] is not P.STARTED):
        path = tmp_path / str(number)
        path.mkdir()
        async with orders(path) as stage:
            await bring_to(stage, states)
            due_at_ms = stage.order().due_at_ms
            if states == (S.PENDING, P.REQUIRES_ACTION):
                assert due_at_ms == stage.clock.at_ms + FIRST_LOOK_MS
            else:
                assert due_at_ms == (stage.clock.at_ms if states in NEXT else None)


def test_the_ways_reach_all_states_that_the_tables_allow() -> None:
    # Where it begins, and where time alone leads to.
    reached = {(S.INTENT, P.STARTED), (S.FAILED, P.REQUIRES_ACTION)}
    for (state, payment), moves in MOVES.items():
        for after, paid in moves.values():
            assert after is state or after in ORDER_MOVES[state]
            assert paid is payment or paid in PAYMENT_MOVES[payment]
            reached.add((after, paid))
    assert reached == set(WAYS)
    assert {state for state, _ in reached} == set(OrderState)
    assert {payment for _, payment in reached} == set(PaymentState)


async def test_what_was_never_an_order_for_its_buyer_is_not_listed(tmp_path: Path) -> None:
    for number, states in enumerate(WAYS):
        path = tmp_path / str(number)
        path.mkdir()
        async with orders(path) as stage:
            await bring_to(stage, states)
            never = states in NOT_LISTED or (states[0] is S.FAILED and "action" not in WAYS[states])
            assert stage.is_listed() is not never
            assert not stage.is_listed(user=2) if never else True
