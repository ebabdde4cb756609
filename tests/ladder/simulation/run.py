"""One script from its beginning to its end, and what came of it."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import structlog
import trio
import trio.testing

from storage.engine import Reader
from storage.schema.ids import EventId, OrderId
from storage.schema.layout import ORDERS, TOTAL, event_partition, list_events
from storage.schema.movements import BOX_OFFICE
from storage.schema.records import OrderRecord
from storage.schema.states import OrderState, PaymentState
from storage.verify import Problem
from tests.ladder.simulation.chance import seeded
from tests.ladder.simulation.operators import Office
from tests.ladder.simulation.people import Town
from tests.ladder.simulation.script import Action, ClockStep, Crash, Operate, Restart, Script, Trouble, Visit
from tests.ladder.simulation.watch import Watch
from tests.ladder.simulation.world import Request, World
from tests.support.daemon import START_MS
from ticketd.ports.payments import PaymentSnapshot

SETTLE_SECONDS: Final = 2_400
"""How long nobody does anything at the end: holds run out, captures and refunds are tried until they are made."""
LOOK_SECONDS: Final = 20
EVENTS_PER_SALE_HOUR: Final = 30
"""Fewer things than this that happened to an event in an hour do not make it an hour of sale."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a script. ``trace`` is the same whenever it is played; ``sale_seconds`` is the time, on the clock of
    the simulation, for which events were on sale, one beside the other."""

    trace: str
    problems: tuple[str, ...]
    invariants: tuple[str, ...]
    figures: dict[str, int]
    sale_seconds: int
    cpu_seconds: float


def play(script: Script, folder: Path | None = None) -> Outcome:
    """Plays a script in a folder of its own, which is made in memory unless ``folder`` says where."""
    began = time.process_time()
    shared = Path("/dev/shm")
    place = folder or (shared if shared.is_dir() else None)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            watch = Watch()
            trio.run(_play, script, Path(scratch), watch, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        structlog.reset_defaults()
    return Outcome(
        trace=watch.trace,
        problems=tuple(map(str, watch.problems)),
        invariants=tuple(dict.fromkeys(problem.invariant for problem in watch.problems)),
        figures=dict(watch.figures),
        sale_seconds=watch.figures["lived_seconds"] * len(script.halls),
        cpu_seconds=time.process_time() - began,
    )


async def _play(script: Script, folder: Path, watch: Watch) -> None:
    began = trio.current_time()
    world: World | None = None

    def now_ns() -> int:
        return START_MS * 1_000_000 if world is None else world.machine_ns()

    with seeded(script.seed, now_ns) as source:
        world = World(folder, watch, source)
        try:
            async with trio.open_nursery() as everything:
                everything.start_soon(_stop_when_failed, watch, everything.cancel_scope)
                await everything.start(world.run)
                await _act(script, world, watch)
                watch.figures["lived_seconds"] = round(trio.current_time() - began)
                await _settle(world, watch)
                everything.cancel_scope.cancel()
        except Exception:
            text = traceback.format_exc(limit=-12)
            watch.report([Problem(invariant="process-is-whole", where="the daemon", text=text)])
        finally:
            world.close()


async def _stop_when_failed(watch: Watch, scope: trio.CancelScope) -> None:
    await watch.failed.wait()
    scope.cancel()


async def _act(script: Script, world: World, watch: Watch) -> None:
    """Plays all actions, each at its time, and sees all visits to their end."""
    events = tuple(UUID(int=0xE0_0000_0000 + number, version=4) for number in range(len(script.halls)))
    town = Town(world, events)
    office = Office(town, script.halls)
    for hall in range(len(script.halls)):
        await office.put(hall)
    async with trio.open_nursery() as looking:
        looking.start_soon(_look_around, world, watch, events)
        async with trio.open_nursery() as visits:
            for number, action in enumerate(script.actions):
                await trio.sleep(max(action.at_ms - world.lived_ms(), 0) / 1000)
                _begin(action, f"{number}", (world, town, office), visits)
        looking.cancel_scope.cancel()


def _begin(action: Action, name: str, where: tuple[World, Town, Office], visits: trio.Nursery) -> None:
    world, town, office = where
    match action:
        case Visit():
            visits.start_soon(town.buyer(action.buyer).visit, action, name)
        case Operate():
            visits.start_soon(office.operate, action, name)
        case Trouble():
            world.gateway.trouble(action.call, action.kind, action.times)
        case Crash():
            world.plan_crash(action)
        case Restart():
            world.restart(action.down_ms)
        case ClockStep():
            world.set_clock(action.by_ms)


async def _look_around(world: World, watch: Watch, events: tuple[UUID, ...]) -> None:
    """Looks again and again, at one event after the other, and sometimes at everything."""
    turn = 0
    while True:
        await trio.sleep(LOOK_SECONDS)
        life = world.life
        if life is None or life.dead or life.services is None:
            continue
        services, turn = life.services, turn + 1
        watch.look(services.clock.now_ms())
        with services.engine.snapshot() as view:
            if turn % 60 == 0:
                watch.verify(view)
            elif turn % 6 == 0:
                watch.verify(view, EventId(events[turn // 6 % len(events)]))


async def _settle(world: World, watch: Watch) -> None:
    """Nobody does anything any more. In the end all money is where it belongs."""
    world.gateway.heal()
    world.forget_crashes()
    await trio.sleep(SETTLE_SECONDS)
    life = await world.wait_up()
    assert life.services is not None
    page = await world.sandbox.list_payments(0)
    payments = list(page.payments)
    while page.next_cursor is not None:
        page = await world.sandbox.list_payments(0, page.next_cursor)
        payments += page.payments
    watch.look(life.services.clock.now_ms())
    await _compare_seat_maps(world, watch)
    with life.services.engine.snapshot() as view:
        watch.check_all(view)
        watch.report(check_money(view, payments))


async def _compare_seat_maps(world: World, watch: Watch) -> None:
    """The seat maps that are kept by following the changes tell what the store does."""
    life = await world.wait_up()
    assert life.services is not None
    with life.services.engine.snapshot() as view:
        totals = {event: TOTAL.get(view, event_partition(event)) for event in list_events(view)}
    for event, total in totals.items():
        target = f"/v1/events/{event}/seats"
        shown = await world.ask(Request(method="GET", target=target, caller="the end", address="the end"))
        if shown is None or shown.status != 200 or total is None:
            text = f"{total} is shown as {None if shown is None else shown.body[:200]!r}"
            watch.report([Problem(invariant="seat-map-as-stored", where=target, text=text)])
            continue
        seats = Counter(
            seat["status"]
            for section in shown.json["sections"]
            for row in section["rows"]
            for seat in row["seats"]
        )
        counted = (seats["AVAILABLE"], seats["RESERVED"], seats["SOLD"], seats["BLOCKED"])
        if counted != (total.free, total.held, total.sold, total.blocked):
            text = f"{total} is shown as {counted}"
            watch.report([Problem(invariant="seat-map-as-stored", where=target, text=text)])


def check_money(reader: Reader, payments: list[PaymentSnapshot]) -> list[Problem]:
    """Once everything is at rest: captured - refunded = what the orders come to, and at most one capture an order."""
    orders: dict[OrderId, OrderRecord] = {
        order.order_id: order
        for event_id in list_events(reader)
        for _, order in ORDERS.scan(reader, event_partition(event_id))
        if order.gateway != BOX_OFFICE
    }
    kept: Counter[OrderId] = Counter()
    captures: Counter[OrderId] = Counter()
    found: list[str] = []
    for payment in payments:
        kept[payment.order_id] += payment.captured_minor - payment.refunded_minor
        captures[payment.order_id] += payment.captured_minor > 0
        if payment.authorised_minor:
            found.append(f"{payment.order_id}: {payment.authorised_minor} are still set aside")
    # Of an event that was deleted nothing was sold, or all is given back.
    found += [
        f"{order}: {kept[order]} are kept of no order"
        for order in kept
        if kept[order] and order not in orders
    ]
    for order_id, order in orders.items():
        due = order.total_minor - order.refund_minor if order.state is OrderState.CONFIRMED else 0
        if order.payment_state is PaymentState.REFUNDED:
            # What was taken before it was cancelled may be kept in part, as the event says of fees.
            due = order.total_minor - order.refund_minor
        if kept[order_id] != due or captures[order_id] > 1:
            text = f"{order.state.value}/{order.payment_state.value}, {order.refund_minor} given back"
            found.append(
                f"{order_id}: {kept[order_id]} are kept in {captures[order_id]} captures, not {due}; {text}"
            )
        if order.due_at_ms is not None:
            found.append(f"{order_id}: {order.state.value}/{order.payment_state.value} is not at rest")
    return [Problem(invariant="money-is-where-it-belongs", where="orders", text=text) for text in found]
