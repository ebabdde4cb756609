"""What each step of an order's payment writes into the ledger, and what of it there is of older orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.layout import MOVEMENT_SUMS, MOVEMENT_TIMES, MOVEMENTS, ORDERS
from storage.schema.movements import MovementKind
from storage.verify import ledger as ledger_checks
from storage.verify.contents import EventContents
from tests.domain.inventory_stage import EVENT_ID, order_id, tier_id
from tests.domain.order_stage import OrderStage, orders, step_of
from ticketd.domain.ledger import (
    Movement,
    derive_movements,
    list_movements,
    note_refunds,
    read_balance,
    record_movement,
)
from ticketd.domain.order_book import load_order
from ticketd.domain.settlement import owe_refund, record_found, record_refunded
from ticketd.event_file.plan import TierPlan

K = MovementKind
TOTAL = "total"
"""Stands for the order's total."""

WAYS: dict[str, tuple[Sequence[str], Sequence[tuple[MovementKind, object, str]]]] = {
    "sold": (("authorised", "confirmed"), [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, "")]),
    "challenged": (("action", "authorised"), [(K.AUTHORISED, TOTAL, "")]),
    "challenge not met": (("action", "cancel", "voided"), []),
    "declined": (("refused",), []),
    "unreachable": (("unreachable",), []),
    "nothing lost": (("no answer", "nothing lost"), []),
    "lost": (("no answer", "found", "voided"), [(K.AUTHORISED, TOTAL, ""), (K.VOIDED, TOTAL, "")]),
    "capture refused": (
        ("authorised", "capture refused"),
        [(K.AUTHORISED, TOTAL, ""), (K.VOIDED, TOTAL, "")],
    ),
    "cancelled before the capture": (
        ("authorised", "cancel", "voided"),
        [(K.AUTHORISED, TOTAL, ""), (K.VOIDED, TOTAL, "")],
    ),
    "cancelled during the capture": (
        ("authorised", "cancel", "confirmed", "voided", "refunded"),
        [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, ""), (K.REFUNDED, TOTAL, "re_1")],
    ),
    "taken to keep a part": (
        ("authorised", "cancel", "taken", "refunded"),
        [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, ""), (K.REFUNDED, TOTAL, "re_1")],
    ),
    "refunded": (
        ("authorised", "confirmed", "cancel", "refunded"),
        [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, ""), (K.REFUNDED, TOTAL, "re_1")],
    ),
    "taken though it was over": (
        ("no answer", "found", "owed", "refunded"),
        [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, ""), (K.REFUNDED, TOTAL, "re_1")],
    ),
    "taken though its buyer never acted": (
        ("action", "cancel", "owed", "refunded"),
        [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, TOTAL, ""), (K.REFUNDED, TOTAL, "re_1")],
    ),
}


FREE_TIERS = tuple(
    TierPlan(tier_id=tier_id(number), name=f"Free {number}", price_minor=0, fees_minor=0)
    for number in range(3)
)


async def bring(stage: OrderStage, steps: Sequence[str]) -> None:
    await stage.intent("Floor/A/1", "Floor/A/2")
    for step in steps:
        stage.clock.at_ms += 1_000
        await (stage.cancel() if step == "cancel" else stage.take(step))


def ledger_of(stage: OrderStage) -> list[tuple[MovementKind, object, str]]:
    """The order's movements; an amount that is the order's total is told so."""
    total_minor = stage.order().total_minor
    found = stage.read(lambda reader: list_movements(reader, EVENT_ID, order_id(1)))
    assert all(
        (movement.gateway, movement.payment_ref, movement.currency) == ("sandbox", "pi_1", "USD")
        for movement in found
    )
    assert [movement.number for movement in found] == list(range(1, len(found) + 1))
    return [
        (
            movement.kind,
            TOTAL if movement.amount_minor == total_minor else movement.amount_minor,
            movement.movement_ref,
        )
        for movement in found
    ]


def problems(reader: Reader) -> list[str]:
    event = EventContents(reader, EVENT_ID)
    return [
        str(problem)
        for check in (
            ledger_checks.check_movements,
            ledger_checks.check_movement_sums,
            ledger_checks.check_ledger_fits_orders,
            ledger_checks.check_currency_sums,
            ledger_checks.check_movement_times,
        )
        for problem in check(event)
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_of_a_payment(tmp_path: Path, way: str) -> None:
    steps, wanted = WAYS[way]
    async with orders(tmp_path) as stage:
        await bring(stage, steps)
        assert ledger_of(stage) == wanted
        assert stage.read(problems) == []
        for step in steps:  # Recorded again, nothing moves again.
            if step != "cancel":
                await stage.take(step)
        assert ledger_of(stage) == wanted


async def test_a_movement_has_the_time_of_its_commit_and_is_found_by_it(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("authorised",))
        set_aside_ms = stage.clock.at_ms
        stage.clock.at_ms += 7
        await stage.take("confirmed")
        times = stage.read(lambda reader: list(MOVEMENT_TIMES.scan(reader, stage.partition)))
        assert times == [(set_aside_ms, order_id(1), 1), (set_aside_ms + 7, order_id(1), 2)]


async def test_the_sums_of_an_event_by_currency_and_kind(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await stage.intent("Floor/A/1")
        await stage.intent("Floor/A/2", user=2, order=2)
        total_minor = stage.order(1).total_minor + stage.order(2).total_minor
        for order in (1, 2):
            await stage.take("authorised", order, order)
        await stage.take("confirmed", 1, 1)
        sums = stage.read(lambda reader: dict(MOVEMENT_SUMS.scan(reader, stage.partition)))
        assert sums == {
            ("USD", "AUTHORISED"): total_minor,
            ("USD", "CAPTURED"): stage.order(1).total_minor,
        }


async def test_what_the_gateway_took_is_told_not_what_was_asked(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("no answer", "found"))
        total_minor = stage.order().total_minor
        await stage.decide(1, lambda tx: owe_refund(tx, step_of(1), total_minor - 5))
        assert stage.order().refund_minor == total_minor - 5
        assert ledger_of(stage) == [(K.AUTHORISED, TOTAL, ""), (K.CAPTURED, total_minor - 5, "")]


async def test_refunds_that_somebody_made_by_hand_are_told_each_once(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("authorised", "confirmed", "cancel"))
        rest_minor = stage.order().total_minor - 100
        made = [("re_hand", 100), ("re_ours", rest_minor)]
        await stage.decide(1, lambda tx: record_refunded(tx, step_of(1), [*made, made[0]][:2]))
        assert ledger_of(stage)[2:] == [(K.REFUNDED, 100, "re_hand"), (K.REFUNDED, rest_minor, "re_ours")]
        assert stage.read(problems) == []
        balance = stage.read(lambda reader: read_balance(reader, EVENT_ID, order_id(1)))
        assert (balance.kept_minor, balance.reserved_minor) == (0, 0)


async def test_a_payment_found_that_waits_for_its_buyer_has_set_nothing_aside(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("no answer",))
        await stage.decide(1, lambda tx: record_found(tx, step_of(1), "pi_1", set_aside=False))
        assert ledger_of(stage) == []
        await stage.take("voided")
        assert ledger_of(stage) == []
        assert stage.read(problems) == []


async def test_money_that_was_taken_is_not_called_void(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("authorised", "confirmed", "cancel"))
        before = stage.order()
        assert await stage.take("voided") == before


async def test_an_order_over_nothing_moves_no_money(tmp_path: Path) -> None:
    async with orders(tmp_path, tiers=FREE_TIERS) as stage:
        await bring(stage, ("authorised", "confirmed", "cancel", "voided"))
        assert stage.order().total_minor == 0
        assert ledger_of(stage) == []
        assert stage.read(problems) == []


async def test_a_movement_of_nothing_is_a_fault_of_the_program(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        nothing = Movement(kind=K.AUTHORISED, amount_minor=0)
        with pytest.raises(ValueError, match="no movement"):
            await stage.decide(1, lambda tx: record_movement(tx, EVENT_ID, order, nothing))


async def test_a_movement_of_a_payment_without_a_name_is_a_fault_of_the_program(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        order = await stage.intent("Floor/A/1")
        one = Movement(kind=K.AUTHORISED, amount_minor=1)
        with pytest.raises(LookupError, match="no name"):
            await stage.decide(1, lambda tx: record_movement(tx, EVENT_ID, order, one))


# --- orders of releases that kept no ledger ---------------------------------------------------------------------


def make_old(tx: Transaction, stage: OrderStage, orders: Iterable[int] = (1,)) -> None:
    """Leaves of the orders, which are all, what a release without a ledger would have left."""
    for parts, _ in list(MOVEMENTS.scan(tx, stage.partition)):
        MOVEMENTS.delete(tx, stage.partition, *parts)
    for parts in list(MOVEMENT_TIMES.scan(tx, stage.partition)):
        MOVEMENT_TIMES.remove(tx, stage.partition, *parts)
    for parts, _ in list(MOVEMENT_SUMS.scan(tx, stage.partition)):
        MOVEMENT_SUMS.delete(tx, stage.partition, *parts)
    for number in orders:
        old = replace(load_order(tx, EVENT_ID, order_id(number)), movements=None, gateway="")
        ORDERS.put(tx, old, stage.partition, old.order_id)


def derive(tx: Transaction) -> None:
    derive_movements(tx, EVENT_ID, load_order(tx, EVENT_ID, order_id(1)), "sandbox")


@pytest.mark.parametrize("way", WAYS)
async def test_the_trail_of_an_older_order_tells_its_movements(tmp_path: Path, way: str) -> None:
    steps, wanted = WAYS[way]
    async with orders(tmp_path) as stage:
        await bring(stage, steps)
        times = stage.read(
            lambda reader: [parts[0] for parts in MOVEMENT_TIMES.scan(reader, stage.partition)]
        )
        await stage.decide(1, partial(make_old, stage=stage))
        await stage.decide(1, derive)
        assert ledger_of(stage) == [(kind, amount, "") for kind, amount, _ in wanted]
        assert stage.read(problems) == []
        derived = stage.read(
            lambda reader: [parts[0] for parts in MOVEMENT_TIMES.scan(reader, stage.partition)]
        )
        assert derived[-1:] == times[-1:]
        before = stage.everything()
        await stage.decide(1, derive)
        assert stage.everything() == before, "deriving again changes nothing"


@pytest.mark.parametrize("way", ["refunded", "taken to keep a part", "cancelled before the capture", "sold"])
async def test_an_older_order_that_was_under_way_goes_on(tmp_path: Path, way: str) -> None:
    steps, wanted = WAYS[way]
    for at in range(1, len(steps)):
        path = tmp_path / str(at)
        path.mkdir()
        async with orders(path) as stage:
            await bring(stage, steps[:at])
            await stage.decide(1, partial(make_old, stage=stage))
            await stage.decide(1, derive)
            # The step that was under way is recorded again, as after a crash.
            for step in steps[at - 1 if steps[at - 1] != "cancel" else at :]:
                await (stage.cancel() if step == "cancel" else stage.take(step))
            assert [kind for kind, _, _ in ledger_of(stage)] == [kind for kind, _, _ in wanted]
            assert stage.read(problems) == []


async def test_an_older_order_that_was_not_derived_yet_is_when_its_money_moves(tmp_path: Path) -> None:
    async with orders(tmp_path) as stage:
        await bring(stage, ("authorised",))
        await stage.decide(1, partial(make_old, stage=stage))
        await stage.take("confirmed")
        movements = stage.read(lambda reader: list_movements(reader, EVENT_ID, order_id(1)))
        assert [movement.kind for movement in movements] == [K.AUTHORISED, K.CAPTURED]
        assert stage.read(problems) == []


async def test_money_that_the_ledger_has_is_not_told_again(tmp_path: Path) -> None:
    """A process that died between the record and the next call records anew what it finds at the gateway."""
    async with orders(tmp_path) as stage:
        await bring(stage, ("authorised", "cancel", "taken", "taken"))
        refunds = [("re_1", 100), ("re_2", 200)]
        for known in (1, 2, 2):

            def note(tx: Transaction, known: int = known) -> None:
                order = load_order(tx, EVENT_ID, order_id(1))
                noted = note_refunds(tx, EVENT_ID, order, refunds[:known])
                ORDERS.put(tx, noted, stage.partition, noted.order_id)

            await stage.decide(1, note)
        assert ledger_of(stage) == [
            (K.AUTHORISED, TOTAL, ""),
            (K.CAPTURED, TOTAL, ""),
            (K.REFUNDED, 100, "re_1"),
            (K.REFUNDED, 200, "re_2"),
        ]
