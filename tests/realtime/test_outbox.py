from __future__ import annotations

from uuid import UUID

import pytest

from storage.schema.ids import EventId, OrderId, ReservationId
from storage.schema.states import OrderState, PaymentState
from ticketd.realtime.outbox import ANSWERS_MAX, LINE_MAX, LineOverrun, Outbox
from ticketd.realtime.updates import HoldExpired, HoldExpiring, OrderChanged, Personal, expiring_kind

EVENT, OTHER_EVENT = EventId(UUID(int=1)), EventId(UUID(int=2))


def order(number: int, at_ms: int = 0, event_id: EventId = EVENT) -> OrderChanged:
    return OrderChanged(
        event_id=event_id,
        order_id=OrderId(UUID(int=number)),
        state=OrderState.PENDING,
        payment_state=PaymentState.AUTHORIZED,
        at_ms=at_ms,
    )


def expiring(number: int) -> HoldExpiring:
    return HoldExpiring(event_id=EVENT, reservation_id=ReservationId(UUID(int=number)), due_at_ms=0)


def drain(outbox: Outbox[bytes]) -> list[Personal]:
    found = []
    while (update := outbox.take_update()) is not None:
        found.append(update)
    return found


def test_updates_come_in_order_and_none_is_left_out_while_there_is_room() -> None:
    outbox: Outbox[bytes] = Outbox()
    put = [order(1, at_ms) for at_ms in range(LINE_MAX)]
    for update in put:
        outbox.put(update)
    assert drain(outbox) == put


def test_a_full_line_keeps_the_newest_of_each_kind() -> None:
    outbox: Outbox[bytes] = Outbox()
    for at_ms in range(LINE_MAX // 2):
        outbox.put(order(1, at_ms))
        outbox.put(order(2, at_ms))
    outbox.put(order(1, 1000))
    assert drain(outbox) == [order(2, LINE_MAX // 2 - 1), order(1, 1000)]


def test_a_full_line_of_different_things_takes_the_same_again_and_nothing_else() -> None:
    outbox: Outbox[bytes] = Outbox()
    for number in range(LINE_MAX):
        outbox.put(order(number))
    outbox.put(order(0, 5))
    with pytest.raises(LineOverrun):
        outbox.put(order(LINE_MAX))
    assert len(outbox) == LINE_MAX
    assert drain(outbox)[-1] == order(0, 5)


def test_the_same_hold_has_two_kinds() -> None:
    reservation_id = ReservationId(UUID(int=1))
    expired = HoldExpired(event_id=EVENT, reservation_id=reservation_id, at_ms=0)
    assert len({expired.kind, expiring(1).kind, order(1).kind}) == 3


def test_what_is_not_true_any_more_is_dropped() -> None:
    outbox: Outbox[bytes] = Outbox()
    for update in (order(1), expiring(1), expiring(2), order(3, event_id=OTHER_EVENT)):
        outbox.put(update)
    outbox.drop(expiring_kind(ReservationId(UUID(int=1))))
    outbox.drop_event(OTHER_EVENT)
    assert drain(outbox) == [order(1), expiring(2)]


@pytest.mark.parametrize(
    ("answers", "takes"), [(ANSWERS_MAX - 1, True), (ANSWERS_MAX, False), (ANSWERS_MAX + 1, False)]
)
def test_answers_are_bounded(answers: int, takes: bool) -> None:
    outbox: Outbox[bytes] = Outbox()
    for number in range(answers):
        outbox.answer(b"%d" % number)
    assert outbox.takes_questions is takes
    assert outbox.first_answer() == b"0"
    outbox.take_answer()
    assert outbox.first_answer() == b"1"
    outbox.clear()
    assert (len(outbox), outbox.first_answer()) == (0, None)
