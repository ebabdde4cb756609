"""A history that should never be is found out, whichever rule it breaks; one that is as it should be is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from msgspec.structs import replace

from storage.engine import Change
from storage.schema.events import (
    EntryMoved,
    Event,
    HoldMoved,
    LobbyDrawn,
    OrderMoved,
    SeatsMoved,
    TicketsIssued,
    TimeCredited,
    TransferMoved,
)
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    ReservationId,
    SeatNumber,
    TicketId,
    TransferId,
    UserId,
)
from storage.schema.layout import event_partition
from storage.schema.records import RoomSettings, SaleRecord
from storage.schema.states import EntryState, OrderState, PaymentState, SeatState, TransferState
from storage.verify.change_log import log_entries
from tests.domain.inventory_stage import EVENT_ID
from tests.ladder.invariants import Answered, AnswerJudge, ChangeJudge, judge_log
from tests.ladder.model.bare import Bare
from tests.ladder.model.product import Product
from tests.ladder.model.walk import Pair, steps

EVENT: Final = EventId(UUID(int=1))
PARTITION: Final = event_partition(EVENT)
OPENS_MS: Final = 1_000_000
HOLD_MS: Final = 60_000
CLAIM_MS: Final = 30_000
SALE: Final = SaleRecord(
    date_ms=10**12,
    general_sale_start_ms=OPENS_MS,
    currency="USD",
    purchase_limit=2,
    hold_seconds=HOLD_MS // 1000,
    tiers=(),
    room=RoomSettings(
        enabled=True,
        capacity=10,
        max_active=2,
        admit_per_minute=3,
        claim_seconds=CLAIM_MS // 1000,
        access_seconds=60,
        max_entries_per_device=1,
    ),
)
L, Q, R, S = EntryState.LOBBY, EntryState.QUEUED, EntryState.READY, EntryState.SHOPPING

At = tuple[int, Event]


def place(
    number: int,
    before: EntryState | None,
    after: EntryState,
    *,
    due_ms: int | None = None,
    user: int | None = None,
) -> EntryMoved:
    return EntryMoved(
        event_id=EVENT,
        entry_id=EntryId(UUID(int=number)),
        user_id=UserId(UUID(int=user or number)),
        seq=number,
        before=before,
        after=after,
        due_at_ms=due_ms,
    )


def seats(state: SeatState, *numbers: int, hold: int | None = None, **more: Any) -> SeatsMoved:
    return SeatsMoved(
        event_id=EVENT,
        seats=tuple(map(SeatNumber, numbers)),
        state=state,
        reservation_id=None if hold is None else ReservationId(UUID(int=hold)),
        user_id=UserId(UUID(int=more.pop("user", 1))),
        **more,
    )


def reserved(hold: int, *numbers: int, at_ms: int = OPENS_MS, user: int = 1) -> SeatsMoved:
    return seats(SeatState.RESERVED, *numbers, hold=hold, due_at_ms=at_ms + HOLD_MS, user=user)


def sold(hold: int, order: int, *numbers: int) -> SeatsMoved:
    return seats(SeatState.SOLD, *numbers, hold=hold, order_id=OrderId(UUID(int=order)))


def order(state: OrderState, payment: PaymentState) -> OrderMoved:
    return OrderMoved(
        event_id=EVENT,
        order_id=OrderId(UUID(int=9)),
        user_id=UserId(UUID(int=1)),
        state=state,
        payment_state=payment,
    )


def issued(*numbers: int) -> TicketsIssued:
    tickets = tuple(TicketId(UUID(int=number)) for number in numbers)
    return TicketsIssued(event_id=EVENT, order_id=OrderId(UUID(int=9)), ticket_ids=tickets)


def offered(transfer: int, state: TransferState) -> TransferMoved:
    return TransferMoved(
        event_id=EVENT,
        transfer_id=TransferId(UUID(int=transfer)),
        ticket_id=TicketId(UUID(int=1)),
        state=state,
    )


def judged(commits: Sequence[At | list[At]], *, settled_ms: int | None = None) -> set[str]:
    """The invariants that a history breaks; what stands in a list of its own is one commit."""
    judge = ChangeJudge(lambda _: SALE, lambda _: [EntryId(UUID(int=number)) for number in (2, 1)])
    found: set[str] = set()
    version = 0
    for commit in commits:
        changes = []
        for at_ms, event in commit if isinstance(commit, list) else [commit]:
            version += 1
            changes.append(Change(PARTITION, version, at_ms, event))
        found.update(problem.invariant for problem in judge.take(changes))
    if settled_ms is not None:
        found.update(problem.invariant for problem in judge.overdue(settled_ms, 0))
    return found


def at(*events: Event, at_ms: int = OPENS_MS) -> list[At | list[At]]:
    return [(at_ms, event) for event in events]


FULL: Final = at(place(1, None, R, due_ms=OPENS_MS + CLAIM_MS), place(2, None, R, due_ms=OPENS_MS + CLAIM_MS))


@pytest.mark.parametrize(
    ("invariant", "history"),
    [
        ("nobody-overtakes", at(place(1, None, Q), place(2, None, Q), place(2, Q, R))),
        ("nobody-overtakes", at(place(1, None, Q), place(2, None, R))),
        ("nobody-overtakes", at(place(1, None, L), at_ms=1) + at(place(2, None, R))),
        (
            "nobody-overtakes",
            [
                *at(place(1, None, L), place(2, None, L), at_ms=1),
                *at(LobbyDrawn(event_id=EVENT, entry_count=2), place(1, L, R)),
            ],
        ),
        ("active-within-limit", [*FULL, *at(place(3, None, R))]),
        (
            "admissions-within-rate",
            [
                *FULL,
                *at(place(1, R, EntryState.LEFT), place(2, R, EntryState.LEFT)),
                *at(place(3, None, R, due_ms=OPENS_MS + CLAIM_MS), place(4, None, R)),
            ],
        ),
        ("one-live-place", at(place(1, None, Q, user=7), place(2, None, Q, user=7))),
        ("entry-moves-legally", at(place(1, None, Q), place(1, Q, S))),
        ("entry-moves-on", at(place(1, None, Q), place(1, R, S))),
        ("window-not-ended-early", [*FULL, (OPENS_MS + CLAIM_MS - 1, place(1, R, EntryState.EXPIRED))]),
        (
            "window-not-ended-early",
            [
                *FULL,
                (OPENS_MS, TimeCredited(event_id=EVENT, credit_ms=5)),
                (OPENS_MS + CLAIM_MS + 4, place(1, R, EntryState.EXPIRED)),
            ],
        ),
        ("one-owner-a-seat", at(reserved(1, 1), reserved(2, 1, user=2))),
        ("one-owner-a-seat", at(seats(SeatState.BLOCKED, 1), reserved(1, 1))),
        ("one-owner-a-seat", at(reserved(1, 1), seats(SeatState.BLOCKED, 1))),
        (
            "one-owner-a-seat",
            at(
                reserved(1, 1),
                sold(1, 9, 1),
                *[seats(SeatState.AVAILABLE, 1, order_id=OrderId(UUID(int=9)))] * 2,
            ),
        ),
        ("all-or-nothing", at(reserved(1, 1, 2), sold(1, 9, 1))),
        ("hold-is-live", at(reserved(1, 1), *[seats(SeatState.AVAILABLE, 1, hold=1)] * 2)),
        ("hold-has-its-time", at(reserved(1, 1, at_ms=OPENS_MS + 1))),
        (
            "hold-not-ended-early",
            [
                *at(reserved(1, 1)),
                (OPENS_MS + HOLD_MS - 1, seats(SeatState.AVAILABLE, 1, hold=1, expired=True)),
            ],
        ),
        (
            "hold-not-ended-early",
            at(
                reserved(1, 1),
                HoldMoved(
                    event_id=EVENT,
                    reservation_id=ReservationId(UUID(int=1)),
                    user_id=UserId(UUID(int=1)),
                    due_at_ms=OPENS_MS + HOLD_MS - 1,
                ),
            ),
        ),
        ("purchase-limit", at(reserved(1, 1, 2), reserved(2, 3))),
        ("purchase-limit", at(reserved(1, 1, 2), sold(1, 9, 1, 2), reserved(2, 3))),
        ("sold-once", at(reserved(1, 1), sold(1, 9, 1), reserved(2, 2), sold(2, 9, 2))),
        (
            "order-moves-legally",
            at(
                *[order(OrderState.FAILED, PaymentState.FAILED)],
                order(OrderState.PENDING, PaymentState.FAILED),
            ),
        ),
        (
            "payment-moves-legally",
            at(
                order(OrderState.INTENT, PaymentState.STARTED),
                order(OrderState.INTENT, PaymentState.CAPTURED),
            ),
        ),
        (
            "one-capture-an-order",
            at(
                *[
                    order(OrderState.CONFIRMED, state)
                    for state in (PaymentState.CAPTURED, PaymentState.REFUND_PENDING, PaymentState.CAPTURED)
                ]
            ),
        ),
        ("tickets-all-or-nothing", at(reserved(1, 1, 2), sold(1, 9, 1, 2), issued(1))),
        ("one-code-a-ticket", at(reserved(1, 1, 2), sold(1, 9, 1, 2), issued(1, 2), issued(2))),
        (
            "transfer-moves-legally",
            at(
                offered(1, TransferState.PENDING),
                offered(1, TransferState.DECLINED),
                offered(1, TransferState.ACCEPTED),
            ),
        ),
        ("one-transfer-a-ticket", at(offered(1, TransferState.PENDING), offered(2, TransferState.PENDING))),
        ("time-goes-on", [*at(reserved(1, 1)), (OPENS_MS - 1, reserved(2, 2, at_ms=OPENS_MS - 1, user=2))]),
    ],
)
def test_a_history_that_breaks_a_rule_is_found_out(invariant: str, history: list[At | list[At]]) -> None:
    assert invariant in judged(history)


@pytest.mark.parametrize(
    "history",
    [
        at(place(1, None, R), place(1, R, S), place(1, S, EntryState.DONE), place(2, None, R, user=1)),
        [
            *at(place(1, None, L), place(2, None, L), place(3, None, L), at_ms=1),
            *at(place(4, None, Q), place(3, L, EntryState.LEFT), LobbyDrawn(event_id=EVENT, entry_count=3)),
            *at(place(2, L, R), place(2, R, EntryState.LEFT), place(1, L, R), place(4, Q, R)),
        ],
        [
            *FULL,
            (OPENS_MS + CLAIM_MS, place(1, R, EntryState.EXPIRED)),
            (OPENS_MS + 60_000, place(3, None, R)),
        ],
        [*at(reserved(1, 1)), (OPENS_MS + HOLD_MS, seats(SeatState.AVAILABLE, 1, hold=1, expired=True))],
        [
            *at(reserved(1, 1, 2), sold(1, 9, 1, 2), issued(1, 2)),
            *at(seats(SeatState.AVAILABLE, 1, order_id=OrderId(UUID(int=9))), reserved(2, 1)),
        ],
        # A till sells in one commit, and more than the limit.
        [at(reserved(1, 1, 2, 3), sold(1, 9, 1, 2, 3))],
    ],
)
def test_a_history_as_it_should_be_breaks_nothing(history: list[Any]) -> None:
    assert judged(history) == set()


@pytest.mark.parametrize(
    ("history", "invariant"),
    [(FULL, "window-not-past-its-end"), (at(reserved(1, 1)), "hold-not-past-its-end")],
)
def test_what_did_not_end_in_time_is_overdue(history: list[Any], invariant: str) -> None:
    assert judged(history, settled_ms=OPENS_MS + CLAIM_MS) == set()
    assert judged(history, settled_ms=OPENS_MS + HOLD_MS + 1) == {invariant}


def test_places_are_counted_before_the_lobby_in_it_as_drawn_and_behind_it() -> None:
    sale = replace(SALE, room=replace(SALE.room, max_active=1))
    judge = ChangeJudge(lambda _: sale, lambda _: [EntryId(UUID(int=number)) for number in (2, 1)])
    joined = [
        (1, place(1, None, L)),
        (1, place(2, None, L)),
        (1, place(3, None, Q)),
        (OPENS_MS, place(4, None, Q)),
    ]
    for version, (at_ms, event) in enumerate(joined, 1):
        assert list(judge.take([Change(PARTITION, version, at_ms, event)])) == []
    assert [judge.position(EVENT, EntryId(UUID(int=number))) for number in (1, 3)] == [None, None]
    assert list(judge.take([Change(PARTITION, 5, OPENS_MS, LobbyDrawn(event_id=EVENT, entry_count=2))])) == []
    assert [judge.position(EVENT, EntryId(UUID(int=number))) for number in (1, 2, 3, 4)] == [3, 2, 1, 4]


def test_the_holds_of_an_event_that_is_cancelled_end_at_once() -> None:
    judge = ChangeJudge(lambda _: replace(SALE, cancelled=True))
    for version, event in enumerate([reserved(1, 1), seats(SeatState.AVAILABLE, 1, hold=1, expired=True)], 1):
        assert list(judge.take([Change(PARTITION, version, OPENS_MS, event)])) == []


def test_a_change_that_is_left_out_is_missed() -> None:
    judge = ChangeJudge()
    found = [*judge.take([Change(PARTITION, 2, OPENS_MS, reserved(1, 1))])]
    assert [problem.invariant for problem in found] == ["published-in-order"]


def answered(status: int, body: object, **more: Any) -> Answered:
    return Answered(
        method=more.pop("method", "POST"),
        path=more.pop("path", "/v1/seats/reserve"),
        caller="user:1",
        status=status,
        headers={"content-type": "application/json", "x-request-id": "r", "retry-after": "1"}
        | more.pop("headers", {}),
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        **more,
    )


def error(code: str, message: str = "No.", **more: Any) -> dict[str, Any]:
    return {
        "error": {
            "code": code,
            "message": message,
            "details": {},
            "request_id": "r",
            "timestamp": "t",
            **more,
        }
    }


def place_at(position: int, path: str = "/v1/queue/status") -> Answered:
    return answered(200, {"status": "QUEUED", "queue_position": position}, path=path, method="GET")


KEYED: Final = {"key": "key-0001", "sent": b"{}"}


@pytest.mark.parametrize(
    ("invariant", "answers"),
    [
        ("answer-in-form", [answered(400, b"{")]),
        ("error-in-form", [answered(409, {"code": "SEATS_TAKEN"})]),
        ("error-in-form", [answered(409, error("SEATS_TAKEN", details=[]))]),
        ("error-in-form", [answered(409, error("SEATS_TAKEN", trace="x"))]),
        ("error-is-known", [answered(410, error("SEATS_TAKEN"))]),
        ("error-is-known", [answered(500, error("INTERNAL_ERROR"))]),
        ("error-names-request", [answered(409, error("SEATS_TAKEN", request_id="other"))]),
        ("error-says-when", [answered(429, error("RATE_LIMITED"), headers={"retry-after": ""})]),
        ("error-without-inner-detail", [answered(400, error("INVALID_REQUEST", "KeyError('x')"))]),
        (
            "same-key-same-bytes",
            [answered(409, error("SEATS_TAKEN"), **KEYED), answered(404, error("SEAT_NOT_FOUND"), **KEYED)],
        ),
        (
            "key-is-of-one-request",
            [
                answered(409, error("SEATS_TAKEN"), **KEYED),
                answered(409, error("SEATS_TAKEN"), key="key-0001", sent=b"[]"),
            ],
        ),
        ("nobody-overtakes", [place_at(3), place_at(2), place_at(4)]),
        ("position-counts-from-1", [place_at(0)]),
    ],
)
def test_an_answer_that_should_never_be_is_found_out(invariant: str, answers: list[Answered]) -> None:
    judge = AnswerJudge()
    assert invariant in {problem.invariant for each in answers for problem in judge.take(each)}


def test_answers_as_they_should_be_break_nothing() -> None:
    judge = AnswerJudge()
    answers = [
        answered(409, error("SEATS_TAKEN"), **KEYED),
        answered(429, error("RATE_LIMITED"), **KEYED),
        answered(409, error("SEATS_TAKEN"), **KEYED, headers={"idempotency-replayed": "true"}),
        answered(422, error("IDEMPOTENCY_KEY_REUSED"), key="key-0001", sent=b"[]"),
        place_at(3),
        place_at(2),
    ]
    assert [problem for each in answers for problem in judge.take(each)] == []


def walked_store(folder: Path, count: int) -> Product:
    """A store in which much has happened, and nobody has changed the settings of its room."""
    product = Product(folder, 2)
    pair = Pair(Bare(2), product)
    for step in islice((step for step in steps(3) if step.name != "set_room"), count):
        pair.take(step)
    pair.compare()
    return product


def test_the_log_of_a_store_tells_a_history_as_it_should_be(tmp_path: Path) -> None:
    product = walked_store(tmp_path, 1500)
    with product.reading() as reader:
        assert list(judge_log(reader)) == []
    product.close()


def test_a_change_that_was_never_published_is_missed(tmp_path: Path) -> None:
    product = walked_store(tmp_path, 200)
    with product.reading() as reader:
        found = {problem.invariant for problem in ChangeJudge().check_published(reader)}
    product.close()
    assert found == {"published-as-committed"}


def test_a_change_that_was_published_and_is_not_in_the_log_is_missed(tmp_path: Path) -> None:
    product = walked_store(tmp_path, 200)
    with product.reading() as reader:
        partition = event_partition(EVENT_ID)
        entries = list(log_entries(reader, partition))
        judge = ChangeJudge()
        for entry in entries:
            list(judge.take([Change(partition, entry.version, entry.at_ms, entry.event)]))
        lost = Change(partition, len(entries) + 1, entries[-1].at_ms, entries[-1].event)
        list(judge.take([lost]))
        of_event = [
            problem for problem in judge.check_published(reader) if "was not published" not in problem.text
        ]
    product.close()
    assert [problem.invariant for problem in of_event] == ["published-is-durable"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/queue/join", {"entry_id": str(UUID(int=5))}),
        ("/v1/seats/reserve", {"reservation_id": str(UUID(int=5)), "seats": [1]}),
        ("/v1/orders", {"order_id": str(UUID(int=5))}),
        (f"/v1/orders/{UUID(int=5)}/cancel", {}),
        (f"/v1/tickets/{UUID(int=5)}/transfer", {"transfer_id": str(UUID(int=5))}),
        (f"/v1/transfers/{UUID(int=5)}/accept", {"ticket_id": str(UUID(int=5))}),
    ],
)
def test_what_was_acknowledged_and_is_not_in_the_store_is_missed(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    product = walked_store(tmp_path, 50)
    judge = AnswerJudge()
    assert list(judge.take(answered(201, body, path=path))) == []
    with product.reading() as reader:
        assert {problem.invariant for problem in judge.check_kept(reader)} == {"acknowledged-survives"}
    product.close()
