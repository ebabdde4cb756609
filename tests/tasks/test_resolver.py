"""When orders are looked at: at the start, when they change, when they fall due; each by one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.open import open_engine
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, OrderId
from storage.schema.states import OrderState, PaymentState
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS, make_plan, order_id
from tests.domain.order_stage import RESUME_MS, begin_command
from tests.tasks.payment_stage import PaymentStage, payments
from ticketd.domain.checkout import OrderStep, begin_checkout
from ticketd.domain.settlement import wake_order
from ticketd.tasks.resolver import WORKERS_AT_MOST, Resolver, read_order

CONFIRMED = (OrderState.CONFIRMED, PaymentState.CAPTURED)


class Notes:
    """Notes who was resumed and when, and does nothing; waits on the way if it is told to."""

    def __init__(self, stage: PaymentStage, rest_ms: int = 0) -> None:
        self.stage = stage
        self.rest_ms = rest_ms
        self.seen: list[tuple[OrderId, int]] = []
        self.at_once = self.most_at_once = 0
        self.gate = trio.Event()
        self.gate.set()

    async def __call__(self, event_id: EventId, found: OrderId) -> int:
        assert event_id == EVENT_ID
        self.seen.append((found, self.stage.clock.now_ms() - OPENS_MS))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        return self.rest_ms


async def begun(stage: PaymentStage, order: int) -> None:
    """An order whose payment was begun, by a buyer of its own."""
    hold = await stage.hold(f"Floor/{'AB'[order > 6]}/{(order - 1) % 6 + 1}", user=order)
    begin = begin_command(order, hold, order)
    await stage.decide(order, lambda tx: begin_checkout(tx, begin))


async def wake(stage: PaymentStage, order: int) -> None:
    step = OrderStep(event_id=EVENT_ID, order_id=order_id(order))
    await stage.run(lambda tx: wake_order(tx, step))


async def test_orders_are_resumed_at_the_start_when_woken_and_when_due(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        notes = Notes(stage, rest_ms=1_000_000)
        await begun(stage, 1)
        await nursery.start(Resolver(stage.engine, stage.clock, notes).run)
        await trio.testing.wait_all_tasks_blocked()
        assert notes.seen == [(order_id(1), 0)], "an INTENT is resumed at once"
        await begun(stage, 2)
        await stage.until(1_000)
        await wake(stage, 1)
        await stage.until(RESUME_MS)
        assert notes.seen[1:] == [(order_id(1), 1_000), (order_id(2), RESUME_MS)]
        nursery.cancel_scope.cancel()


async def test_an_order_in_hand_is_left_alone_and_looked_at_when_it_is_let_go_of(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        notes = Notes(stage, rest_ms=1_000_000)
        resolver = Resolver(stage.engine, stage.clock, notes)
        await nursery.start(resolver.run)
        with resolver.in_hand(EVENT_ID, order_id(1)):
            await begun(stage, 1)
            await wake(stage, 1)
            await stage.until(2 * RESUME_MS)
            assert notes.seen == []
        await trio.testing.wait_all_tasks_blocked()
        assert notes.seen == [(order_id(1), 2 * RESUME_MS)]
        nursery.cancel_scope.cancel()


async def test_a_change_during_the_work_is_not_missed_and_nobody_else_works_on_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        notes = Notes(stage)
        await begun(stage, 1)
        notes.gate = trio.Event()
        await nursery.start(Resolver(stage.engine, stage.clock, notes).run)
        await trio.testing.wait_all_tasks_blocked()
        for at_ms in (1_000, 2_000):
            await stage.until(at_ms)
            await wake(stage, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(notes.seen), notes.most_at_once) == (1, 1)
        notes.rest_ms = 5_000
        notes.gate.set()
        await stage.until(7_000)
        assert [at_ms for _, at_ms in notes.seen] == [0, 7_000], "after the rest that the work asked for"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("orders", [WORKERS_AT_MOST - 5, WORKERS_AT_MOST - 4, WORKERS_AT_MOST - 3])
async def test_so_many_are_worked_on_at_once_and_the_others_come_after(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: int
) -> None:
    most = WORKERS_AT_MOST - 4  # the hall's floor has so many seats
    monkeypatch.setattr("ticketd.tasks.resolver.WORKERS_AT_MOST", most)
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        notes = Notes(stage, rest_ms=1_000_000)
        for number in range(1, min(orders, 12) + 1):
            await begun(stage, number)
        if orders > 12:
            hold = await stage.hold("Balcony/A/1", user=13)
            begin = begin_command(13, hold, 13)
            await stage.decide(13, lambda tx: begin_checkout(tx, begin))
        notes.gate = trio.Event()
        await nursery.start(Resolver(stage.engine, stage.clock, notes).run)
        await trio.testing.wait_all_tasks_blocked()
        assert notes.at_once == min(orders, most)
        notes.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len({found for found, _ in notes.seen}) == len(notes.seen) == orders
        assert notes.most_at_once <= most
        nursery.cancel_scope.cancel()


async def test_an_order_that_is_not_there_is_let_be(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage, trio.open_nursery() as nursery:
        notes = Notes(stage)
        resolver = Resolver(stage.engine, stage.clock, notes)
        await nursery.start(resolver.run)
        with resolver.in_hand(EVENT_ID, order_id(404)):
            await trio.testing.wait_all_tasks_blocked()
        await stage.until(1_000)
        assert notes.seen == []
        assert read_order(stage.engine, EVENT_ID, order_id(404)) is None
        nursery.cancel_scope.cancel()


async def test_a_failure_of_the_work_ends_the_resolver(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with payments(tmp_path) as stage:
        await begun(stage, 1)

        async def fail(_: EventId, __: OrderId) -> int:
            raise ZeroDivisionError

        with pytest.RaisesGroup(pytest.RaisesGroup(ZeroDivisionError)):
            async with trio.open_nursery() as nursery:
                await nursery.start(Resolver(stage.engine, stage.clock, fail).run)
                await trio.sleep(1)


async def test_no_order_is_missed_where_commits_come_from_a_thread(tmp_path: Path) -> None:
    """In real time, as the daemon runs: who wakes first after a commit is then left to chance."""
    clock = SystemClock()
    settings = StorageSettings(map_size_bytes=64 * 1024 * 1024)
    with open_engine(tmp_path / "data", settings, clock, EVENT_CODEC) as engine:
        stage = PaymentStage(engine, clock, tmp_path)  # type: ignore[arg-type]  # another engine and clock, just as good
        async with trio.open_nursery() as writer:
            await writer.start(engine.run)
            await stage.put(
                make_plan(general_sale_start_ms=clock.now_ms() - 1, date_ms=clock.now_ms() + 10**9)
            )
            async with stage.running() as desk:
                at_rest = trio.Event()

                def look(_: object) -> None:
                    orders = [stage.find_order(number) for number in range(1, 13)]
                    if all(order is not None and order.due_at_ms is None for order in orders):
                        at_rest.set()

                engine.subscribe(look)

                async def buy(number: int) -> None:
                    hold = await stage.hold(f"Floor/{'AB'[number > 6]}/{(number - 1) % 6 + 1}", user=number)
                    await stage.place(desk, hold, order=number, user=number)
                    if number % 2:
                        await stage.cancel(number, number)

                async with trio.open_nursery() as buyers:
                    for number in range(1, 13):
                        buyers.start_soon(buy, number)
                with trio.fail_after(20):
                    await at_rest.wait()
                await stage.audit()
            writer.cancel_scope.cancel()
        stage.close()
