"""Seeded random walks: buyers, payments, time and the operator against a naive model that shares no code with the
domain.

A walk that fails names its seed and its step; run it again with that seed alone.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

import pytest

from storage.schema.ids import ReservationId
from storage.schema.states import IllegalMove, SeatState
from tests.domain.inventory_stage import EVENT_ID, HOLD_MS, Hall, Stage, inventory, make_plan
from ticketd.domain.seats import seat_states
from ticketd.errors import Refusal

STEPS = 250
LIMIT = 5
BUYERS = 5
FREE, HELD, SOLD, BLOCKED = "free", "held", "sold", "blocked"
STATES = {
    SeatState.AVAILABLE: FREE,
    SeatState.RESERVED: HELD,
    SeatState.SOLD: SOLD,
    SeatState.BLOCKED: BLOCKED,
}
OK = "ok"
"""What the model foretells of a step that is taken."""
ILLEGAL = "illegal"

R = TypeVar("R")


@dataclass
class ModelHold:
    buyer: int
    names: list[str]
    expires_ms: int
    due_ms: int
    state: str = "HELD"
    order: int = 0


@dataclass
class Model:
    """The sale as somebody would keep it on paper. Seats go by their names."""

    seats: dict[str, str]
    holder: dict[str, object] = field(default_factory=dict)
    holds: dict[ReservationId, ModelHold] = field(default_factory=dict)
    now_ms: int = 0

    def of_buyer(self, buyer: int) -> int:
        live = sum(
            len(h.names) for h in self.holds.values() if h.buyer == buyer and h.state in {"HELD", "PAYING"}
        )
        bought = sum(
            self.holder.get(name) == h.order and self.seats.get(name) == SOLD
            for h in self.holds.values()
            if h.buyer == buyer and h.state == "ORDERED"
            for name in h.names
        )
        return live + bought

    def reserve(self, buyer: int, names: list[str]) -> str | ReservationId:
        states = [self.seats[name] for name in names]
        for hold_id, hold in self.holds.items():
            live = hold.state in {"HELD", "PAYING"} and hold.due_ms > self.now_ms
            if live and hold.buyer == buyer and sorted(hold.names) == sorted(names):
                return hold_id
        if SOLD in states or BLOCKED in states:
            return "SEATS_UNAVAILABLE"
        if HELD in states:
            return "SEATS_TAKEN"
        return "PURCHASE_LIMIT_EXCEEDED" if self.of_buyer(buyer) + len(names) > LIMIT else OK

    def begin(self, hold_id: ReservationId, buyer: int, names: list[str]) -> None:
        due_ms = self.now_ms + HOLD_MS
        self.holds[hold_id] = ModelHold(buyer, list(names), due_ms, due_ms)
        self.put(names, HELD, hold_id)

    def put(self, names: list[str], state: str, holder: object = None) -> None:
        for name in names:
            self.seats[name] = state
            self.holder[name] = holder

    def find(self, buyer: int, hold: ModelHold) -> str:
        if hold.buyer != buyer or hold.state == "RELEASED":
            return "RESERVATION_NOT_FOUND"
        if hold.state == "ORDERED":
            return "ORDER_EXISTS"
        if hold.state == "EXPIRED" or (hold.state == "HELD" and hold.due_ms <= self.now_ms):
            return "RESERVATION_EXPIRED"
        return OK

    def find_unpaid(self, buyer: int, hold: ModelHold) -> str:
        found = self.find(buyer, hold)
        return "ORDER_EXISTS" if found == OK and hold.state == "PAYING" else found

    def sweep(self) -> None:
        for hold in self.holds.values():
            if hold.state in {"HELD", "PAYING"} and hold.due_ms <= self.now_ms:
                hold.state = "EXPIRED"
                self.put(hold.names, FREE)


async def attempt(step: Awaitable[R]) -> tuple[str, R | None, Refusal | None]:
    """How the step went: OK, or a refusal's code, or ILLEGAL; what it gave; and the refusal."""
    try:
        return OK, await step, None
    except Refusal as refusal:
        return refusal.code.name, None, refusal
    except IllegalMove:
        return ILLEGAL, None, None


class Walk:
    """One walk: a stage, the model beside it, and the steps that both take."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self.hall: dict[str, dict[str, int]] = {}
        self.model = Model({}, now_ms=stage.clock.at_ms)
        self.orders = 0
        self.taken: dict[str, int] = {}

    async def begin(self, hall: Hall) -> None:
        self.hall = {
            name: {row: int(str(seats)) for row, seats in rows.items()} for name, rows in hall.items()
        }
        await self.stage.put(make_plan(self.hall, purchase_limit=LIMIT))
        self.model.seats = dict.fromkeys(self.stage.read(self.stage.all_seats), FREE)

    async def step(self) -> None:
        steps = [
            self.reserve,
            self.reserve,
            self.reserve_best,
            self.release,
            self.freeze,
            self.freeze,
            self.thaw,
            self.sell,
            self.sell,
            self.give_back,
            self.block,
            self.unblock,
            self.pass_time,
            self.put_event,
        ]
        step = self.rng.choice(steps)
        outcome = await step()
        key = f"{step.__name__} {outcome}"
        self.taken[key] = self.taken.get(key, 0) + 1
        self.compare()

    def buyer(self) -> int:
        return self.rng.randrange(1, BUYERS + 1)

    def some_seats(self, most: int = 3) -> list[str]:
        names = list(self.model.seats)
        at = self.rng.randrange(len(names))
        near = names[at : at + self.rng.randrange(1, most + 1)]
        return near if self.rng.random() < 0.7 else self.rng.sample(names, min(len(names), most))

    def some_hold(self) -> tuple[ReservationId, ModelHold] | None:
        return self.rng.choice(list(self.model.holds.items())[-8:]) if self.model.holds else None

    async def reserve(self) -> str:
        buyer, names = self.buyer(), self.some_seats()
        again = self.some_hold()
        if again is not None and self.rng.random() < 0.2:
            names = [name for name in again[1].names if name in self.model.seats] or names
            buyer = again[1].buyer
        wanted = self.model.reserve(buyer, names)
        outcome, held, _ = await attempt(self.stage.reserve(buyer, *self.stage.seats(*names)))
        if held is None:
            assert outcome == wanted
        elif wanted != OK:
            assert held.reservation_id == wanted
            return "again"
        else:
            self.model.begin(held.reservation_id, buyer, names)
        return outcome

    async def reserve_best(self) -> str:
        buyer, quantity = self.buyer(), self.rng.randrange(1, 6)
        wanted = OK
        if sum(state == FREE for state in self.model.seats.values()) < quantity:
            wanted = "SEATS_UNAVAILABLE"
        elif not any(self.together(start, quantity) for start in range(len(self.model.seats))):
            wanted = "NO_ADJACENT_SEATS"
        elif self.model.of_buyer(buyer) + quantity > LIMIT:
            wanted = "PURCHASE_LIMIT_EXCEEDED"
        outcome, held, _ = await attempt(self.stage.best(buyer, quantity))
        assert outcome == wanted
        if held is not None:
            by_number = {seat: name for name, seat in self.stage.read(self.stage.all_seats).items()}
            names = [by_number[seat] for seat in held.seats]
            start = list(self.model.seats).index(names[0])
            assert names == list(self.model.seats)[start : start + quantity]
            assert self.together(start, quantity)
            self.model.begin(held.reservation_id, buyer, names)
        return outcome

    def together(self, start: int, quantity: int) -> bool:
        names = list(self.model.seats)[start : start + quantity]
        rows = {name.rsplit("/", 1)[0] for name in names}
        return (
            len(names) == quantity
            and len(rows) == 1
            and all(self.model.seats[name] == FREE for name in names)
        )

    async def release(self) -> str:
        if (some := self.some_hold()) is None:
            return "none"
        hold_id, hold = some
        buyer = hold.buyer if self.rng.random() < 0.9 else self.buyer()
        wanted = self.model.find_unpaid(buyer, hold)
        outcome, _, _ = await attempt(self.stage.release(buyer, hold_id))
        assert outcome == wanted
        if outcome == OK:
            hold.state = "RELEASED"
            self.model.put(hold.names, FREE)
        return outcome

    async def freeze(self) -> str:
        if (some := self.some_hold()) is None:
            return "none"
        hold_id, hold = some
        wanted = self.model.find_unpaid(hold.buyer, hold)
        due_ms = max(hold.expires_ms, self.model.now_ms + 60_000)
        self.orders += 1
        outcome, _, _ = await attempt(self.stage.freeze(hold.buyer, hold_id, self.orders, due_ms))
        assert outcome == wanted
        if outcome == OK:
            hold.state, hold.due_ms, hold.order = "PAYING", due_ms, self.orders
        return outcome

    async def thaw(self) -> str:
        if (some := self.some_hold()) is None:
            return "none"
        hold_id, hold = some
        outcome, _, _ = await attempt(self.stage.thaw(hold_id))
        assert outcome == (ILLEGAL if hold.state == "ORDERED" else OK)
        if hold.state == "PAYING":
            hold.state, hold.due_ms = "HELD", hold.expires_ms
        return outcome

    async def sell(self) -> str:
        if (some := self.some_hold()) is None:
            return "none"
        hold_id, hold = some
        outcome, _, _ = await attempt(self.stage.sell(hold_id))
        assert outcome == {"PAYING": OK, "EXPIRED": "RESERVATION_EXPIRED"}.get(hold.state, ILLEGAL)
        if outcome == OK:
            hold.state = "ORDERED"
            self.model.put(hold.names, SOLD, hold.order)
        return outcome

    async def give_back(self) -> str:
        if (some := self.some_hold()) is None or some[1].state != "ORDERED":
            return "none"
        hold = some[1]
        names = [name for name in hold.names if self.model.holder.get(name) == hold.order]
        if not names:
            return "gone"
        await self.stage.give_back(hold.buyer, hold.order, *self.stage.seats(*names))
        self.model.put(names, FREE)
        return OK

    async def block(self) -> str:
        names = self.some_seats()
        states = [self.model.seats[name] for name in names]
        wanted = "SEATS_UNAVAILABLE" if SOLD in states else "SEATS_TAKEN" if HELD in states else OK
        outcome, _, _ = await attempt(self.stage.block(*self.stage.seats(*names)))
        assert outcome == wanted
        if outcome == OK:
            self.model.put(names, BLOCKED)
        return outcome

    async def unblock(self) -> str:
        names = self.some_seats(6)
        await self.stage.unblock(*self.stage.seats(*names))
        self.model.put([name for name in names if self.model.seats[name] == BLOCKED], FREE)
        return OK

    async def pass_time(self) -> str:
        self.stage.clock.at_ms += self.rng.choice([1, 1000, 60_000, HOLD_MS // 2])
        self.model.now_ms = self.stage.clock.at_ms
        if self.rng.random() < 0.3:
            return "not swept"
        while (due_ms := await self.stage.expire(limit=2)) is not None and due_ms <= self.model.now_ms:
            pass
        self.model.sweep()
        due = [h.due_ms for h in self.model.holds.values() if h.state in {"HELD", "PAYING"}]
        assert due_ms == min(due, default=None)
        return OK

    async def put_event(self) -> str:
        """Another plan: a row longer or shorter, gone or new, the sections the other way round."""
        hall = {name: dict(rows) for name, rows in self.hall.items()}
        section = hall[self.rng.choice(list(hall))]
        label = self.rng.choice("ABC")
        length = section.get(label, 0) + self.rng.choice([-2, -1, 1, 2, 3])
        if 0 < length < 9:
            section[label] = length
        elif len(section) > 1:
            section.pop(label, None)
        if self.rng.random() < 0.2:
            hall = dict(reversed(hall.items()))
        plan = make_plan(hall, purchase_limit=LIMIT)
        names = [
            f"{section.name}/{row.label}/{seat.number}"
            for section in plan.sections
            for row in section.rows
            for seat in row.seats
        ]
        gone = self.model.seats.keys() - set(names)
        lost = {name for name in gone if self.model.seats[name] in {HELD, SOLD}}
        outcome, _, refusal = await attempt(self.stage.put(plan))
        if refusal is not None:
            assert (outcome, set(cast("list[str]", refusal.details["seats"]))) == ("SEATS_TAKEN", lost)
            return outcome
        assert not lost
        self.hall = hall
        self.model.seats = {name: self.model.seats.get(name, FREE) for name in names}
        for name in gone:
            self.model.holder.pop(name, None)
        return outcome

    def compare(self) -> None:
        """The store says of every seat and every hold what the model says; and of its counts what a recount says."""
        self.stage.recount()
        by_name = self.stage.read(self.stage.all_seats)
        assert list(by_name) == list(self.model.seats)
        found = self.stage.read(lambda reader: seat_states(reader, EVENT_ID, by_name.values()))
        for (name, wanted), (state, owner) in zip(self.model.seats.items(), found, strict=True):
            assert STATES[state] == wanted, name
            holder = self.model.holder.get(name)
            assert (owner is None) == (holder is None)
            if isinstance(holder, int):
                assert owner is not None
                assert owner.int == 0xC000_0000 + holder
            elif holder is not None:
                assert owner == holder
        states = list(self.model.seats.values())
        total = self.stage.total()
        assert [total.free, total.held, total.sold, total.blocked] == [
            states.count(state) for state in (FREE, HELD, SOLD, BLOCKED)
        ]
        for hold_id, hold in self.model.holds.items():
            record = self.stage.reservation(hold_id)
            assert (record.state, record.due_at_ms) == (hold.state, hold.due_ms)


@pytest.mark.parametrize("seed", range(8))
async def test_the_inventory_goes_on_as_the_naive_model_does(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with inventory(tmp_path) as stage:
        walk = Walk(stage, rng)
        await walk.begin({"Floor": {"A": 6, "B": 5}, "Balcony": {"A": 4}})
        for step in range(STEPS):
            try:
                await walk.step()
            except AssertionError:
                print(f"seed {seed}, step {step}")
                raise
        assert len(walk.taken) > 20, "a walk that gets nowhere shows nothing"
