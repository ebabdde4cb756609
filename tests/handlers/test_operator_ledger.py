"""The operator's view of the money: the ledger page by page, and the ledger held against the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import trio

from tests.handlers.operator_stage import EVENT, OperatorStage, open_stage
from tests.support.events import NO_EVENT


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        await stage.put()
        yield stage


async def sell(stage: OperatorStage, count: int) -> list[str]:
    seats = await stage.seat_ids()
    placed = [await stage.order(seat) for seat in seats[:count]]
    await trio.sleep(1)
    return [order["order_id"] for order in placed]


async def test_the_ledger_is_told_oldest_first_page_after_page(stage: OperatorStage) -> None:
    sold = await sell(stage, 3)
    whole = (await stage.operator.get(f"/v1/operator/ledger?event_id={EVENT}")).json
    assert whole["next"] is None
    assert {movement["order_id"] for movement in whole["movements"]} == set(sold)
    assert (
        sorted(movement["kind"] for movement in whole["movements"]) == ["AUTHORISED"] * 3 + ["CAPTURED"] * 3
    )
    for per_page in (1, 2, 3, 5, 6, 7):
        listed, after = [], ""
        while True:
            answer = await stage.operator.get(
                f"/v1/operator/ledger?event_id={EVENT}&per_page={per_page}{after}"
            )
            assert answer.status == 200, answer.body
            assert len(answer.json["movements"]) <= per_page
            listed += answer.json["movements"]
            if answer.json["next"] is None:
                break
            after = f"&after={answer.json['next']}"
        assert listed == whole["movements"]


async def test_an_amount_has_the_decimals_of_its_currency(stage: OperatorStage) -> None:
    await sell(stage, 1)
    told = await stage.operator.get(f"/v1/operator/ledger?event_id={EVENT}")
    assert b'"amount":620.00,"currency":"USD","gateway":"sandbox"' in told.body


async def test_the_ledger_of_a_time(stage: OperatorStage) -> None:
    await sell(stage, 1)
    at = (await stage.operator.get(f"/v1/operator/ledger?event_id={EVENT}")).json["movements"][0]["at"]
    for query, count in ((f"since={at}", 2), (f"until={at}", 0), ("since=2100-01-01T00:00:00Z", 0)):
        told = await stage.operator.get(f"/v1/operator/ledger?event_id={EVENT}&{query}")
        assert len(told.json["movements"]) == count, query


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        (f"event_id={NO_EVENT}", 404),
        (f"event_id={EVENT}&per_page=0", 400),
        (f"event_id={EVENT}&per_page=1", 200),
        (f"event_id={EVENT}&per_page=1000", 200),
        (f"event_id={EVENT}&per_page=1001", 400),
        (f"event_id={EVENT}&after=1-2-3", 400),
        (f"event_id={EVENT}&after=1-{'0' * 32}-1%0A", 400),
        (f"event_id={EVENT}&after={'9' * 15}-{'f' * 32}-{'9' * 9}", 200),
        (f"event_id={EVENT}&since=2026-08-15", 400),
        (f"event_id={EVENT}&since=0", 400),
        (f"event_id={EVENT}&since=2026-13-15T10:00:00Z", 400),
        (f"event_id={EVENT}&since=2026-02-29T10:00:00Z", 400),
        (f"event_id={EVENT}&since=2026-02-28T10:00:00.5%2B14:00", 200),
        (f"event_id={EVENT}&since=0001-01-01T00:00:00%2B14:00", 200),
        (f"event_id={EVENT}&since=2026-08-15T10:00:00", 400),
        (f"event_id={EVENT}&since=0001-01-01T00:00:00Z", 200),
        (f"event_id={EVENT}&until=9999-12-31T23:59:59Z", 200),
    ],
)
async def test_what_can_be_asked_of_the_ledger(stage: OperatorStage, query: str, status: int) -> None:
    assert (await stage.operator.get(f"/v1/operator/ledger?{query}")).status == status


async def test_an_order_tells_what_was_taken_and_given_back(stage: OperatorStage) -> None:
    await sell(stage, 1)
    listed = await stage.operator.get("/v1/operator/orders")
    assert b'"captured":620.00,"refunded":0.00' in listed.body


async def test_reconciling_what_agrees_and_what_does_not(stage: OperatorStage) -> None:
    first, second = await sell(stage, 2)
    told = (await stage.operator.get("/v1/operator/reconcile")).json
    assert (len(told["payment_refs"]), told["under_way"], told["differences"], told["next"]) == (
        2,
        0,
        [],
        None,
    )
    sandbox = stage.daemon.services.sandbox
    assert sandbox is not None
    ref = told["payment_refs"][0]
    await sandbox.refund(ref, 100, "by hand")
    for query in ("", f"?event_id={EVENT}", "?since=2000-01-01T00:00:00Z"):
        (difference,) = (await stage.operator.get(f"/v1/operator/reconcile{query}")).json["differences"]
        assert (difference["kind"], difference["order_id"]) == ("REFUNDS_DIFFER", first)
        assert (difference["payment_ref"], difference["event_id"]) == (ref, str(EVENT))
    for order_id, count in ((first, 1), (second, 0)):
        one = await stage.operator.get(f"/v1/operator/reconcile/{order_id}?event_id={EVENT}")
        assert (one.status, len(one.json["differences"])) == (200, count)
    await stage.put(event_id=UUID(int=7))
    of_other = (await stage.operator.get(f"/v1/operator/reconcile?event_id={UUID(int=7)}")).json
    assert (of_other["payment_refs"], of_other["differences"]) == ([], [])
    later = (await stage.operator.get("/v1/operator/reconcile?since=2100-01-01T00:00:00Z")).json
    assert later["payment_refs"] == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"?event_id={NO_EVENT}", 404),
        ("?cursor=nonsense", 400),
        ("?cursor=", 400),
        (f"?cursor={'1' * 256}", 400),
        (f"/{NO_EVENT}?event_id={EVENT}", 404),
        (f"/nine?event_id={EVENT}", 404),
        (f"/{NO_EVENT}", 400),
    ],
)
async def test_what_cannot_be_reconciled(stage: OperatorStage, target: str, status: int) -> None:
    assert (await stage.operator.get(f"/v1/operator/reconcile{target}")).status == status
