"""A stage for tests of the inventory: one event in a real store, and buyers who are let in at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Generic, TypeVar
from uuid import UUID

from storage.clock import Clock
from storage.engine import Change, Command, Reader, Transaction
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    ReservationId,
    SeatNumber,
    SectionId,
    TierId,
    UserId,
)
from storage.schema.layout import (
    PURCHASES,
    RESERVATIONS,
    SYSTEM,
    TOTAL,
    event_partition,
)
from storage.schema.records import CountRecord, PurchaseRecord, ReservationRecord
from storage.schema.states import SeatState
from storage.writer import InlineEngine
from tests.domain.inventory_recount import recount, seats_by_name
from tests.domain.room_stage import HandClock, open_store
from ticketd.domain.events import PutEvent, PutEventResult, event_command_partitions, put_event
from ticketd.domain.hoarding import NO_LIMITS
from ticketd.domain.reservations import (
    ReleaseReservation,
    ReserveBest,
    ReserveSeats,
    expire_reservations,
    freeze_reservation,
    release_reservation,
    reserve_best,
    reserve_seats,
    return_seats,
    sell_reservation,
    thaw_reservation,
)
from ticketd.domain.rooms import ClaimAccess, JoinRoom, claim_access, join_room
from ticketd.domain.seats import BlockSeats, block_seats, seat_states, unblock_seats
from ticketd.event_file.plan import (
    EventPlan,
    PresaleCode,
    RoomPlan,
    RowPlan,
    SeatPlan,
    SectionPlan,
    TierPlan,
    VenuePlan,
)

R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C", bound=Clock)

EVENT_ID = EventId(UUID("0190a0b0-0000-7000-8000-00000000000e"))
OPENS_MS = 1_800_000_000_000
DATE_MS = OPENS_MS + 90 * 86_400_000
HOLD_MS = 600_000

RowSpec = int | Sequence[tuple[str, int]]
"""A row: so many seats of the section's own tier, or each seat's number and tier."""

Hall = Mapping[str, Mapping[str, RowSpec]]
SMALL_HALL: Hall = {"Floor": {"A": 6, "B": 6}, "Balcony": {"A": 4}}


def tier_id(index: int) -> TierId:
    return TierId(UUID(int=0x7000 + index))


def section_id(name: str) -> SectionId:
    return SectionId(UUID(int=int.from_bytes(name.encode()[:12], "big")))


def row_plan(label: str, spec: RowSpec, tier: int) -> RowPlan:
    seats = [(str(n), tier) for n in range(1, spec + 1)] if isinstance(spec, int) else spec
    return RowPlan(label, tuple(SeatPlan(number=number, tier=of_tier) for number, of_tier in seats))


def make_plan(hall: Hall = SMALL_HALL, **changes: object) -> EventPlan:
    """An event that is on sale; the n-th section is of the n-th tier unless its rows say otherwise."""
    sections = tuple(
        SectionPlan(
            section_id=section_id(name),
            name=name,
            rows=tuple(row_plan(label, spec, tier % 3) for label, spec in rows.items()),
        )
        for tier, (name, rows) in enumerate(hall.items())
    )
    fields: dict[str, object] = {
        "event_id": EVENT_ID,
        "name": "A Night of Tests",
        "venue": VenuePlan(
            venue_id=UUID(int=0x11), name="The Hall", city="Berlin", country="DE", timezone="Europe/Berlin"
        ),
        "date_ms": DATE_MS,
        "general_sale_start_ms": OPENS_MS,
        "currency": "USD",
        "tax_rate_ppm": 90_000,
        "tiers": (
            TierPlan(tier_id=tier_id(0), name="Floor", price_minor=50_000, fees_minor=7_500),
            TierPlan(tier_id=tier_id(1), name="Balcony", price_minor=15_000, fees_minor=1_000),
            TierPlan(tier_id=tier_id(2), name="Standing", price_minor=9_999, fees_minor=0),
        ),
        "sections": sections,
        "room": RoomPlan(enabled=False, access_seconds=86_400),
    }
    return EventPlan(**{**fields, **changes})  # type: ignore[arg-type]  # the tests name real fields


def rich_plan() -> EventPlan:
    """A plan in which every field says something."""
    return make_plan(
        description="Twelve scenes.",
        artist_id=UUID(int=0x22),
        artist_name="The Testers",
        category="Concert",
        image_url="https://example.org/a.png",
        doors_open_ms=DATE_MS - 3_600_000,
        presale_start_ms=OPENS_MS - 1000,
        presale_codes=(PresaleCode("FAN", 3),),
        sale_end_ms=DATE_MS - 1,
        purchase_limit=4,
        hold_seconds=60,
        refund_fees=False,
        refundable_until_ms=DATE_MS - 2,
        sections=(
            SectionPlan(
                section_id=section_id("Floor"),
                name="Floor",
                rows=(RowPlan("A", (SeatPlan("1", 0, 1.5, -2.25, "guid-1"), SeatPlan("2", 1))),),
            ),
        ),
        room=RoomPlan(
            enabled=True, capacity=5, max_active=4, admit_per_minute=3, lobby_opens_ms=OPENS_MS - 9
        ),
    )


class InventoryStage(Generic[C]):
    """One event and what is done in it. Buyers and orders are numbers; each buyer is let in when first seen."""

    def __init__(self, engine: InlineEngine, clock: C) -> None:
        self.engine = engine
        self.clock = clock
        self.partition = event_partition(EVENT_ID)
        self.changes: list[object] = []
        self._ids = count(1)
        self._entries: dict[int, EntryId] = {}
        self.lapse_limits = NO_LIMITS
        self.devices: dict[int, bytes] = {}
        """The devices of buyers who have none of their own."""
        self.addresses: dict[int, bytes] = {}
        engine.subscribe(self._notice)

    def _notice(self, changes: Sequence[Change]) -> None:
        self.changes += [change.event for change in changes]

    async def run(self, function: Callable[[Transaction], R]) -> R:
        return (await self.engine.submit(Command("test", (self.partition,), function))).result

    def read(self, function: Callable[[Reader], T]) -> T:
        with self.engine.snapshot(self.partition, SYSTEM) as snapshot:
            return function(snapshot)

    async def put(self, plan: EventPlan) -> PutEventResult:
        command = Command("put", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, PutEvent(plan)))
        return (await self.engine.submit(command)).result

    async def entry(self, user: int) -> EntryId:
        """The entry of a buyer whose shopping window is open."""
        if user not in self._entries:
            entry_id = EntryId(UUID(int=0xE000_0000 + user))
            join = JoinRoom(
                event_id=EVENT_ID,
                user_id=user_id(user),
                device_hash=self.devices.get(user, b"device %d" % user),
                entry_id=entry_id,
                address_hash=self.addresses.get(user),
            )
            await self.run(lambda tx: join_room(tx, join))
            await self.run(lambda tx: claim_access(tx, ClaimAccess(EVENT_ID, entry_id, "k1")))
            self._entries[user] = entry_id
        return self._entries[user]

    async def reserve(self, user: int, *seats: SeatNumber) -> ReservationRecord:
        command = ReserveSeats(
            event_id=EVENT_ID,
            user_id=user_id(user),
            entry_id=await self.entry(user),
            reservation_id=ReservationId(UUID(int=0xA000_0000 + next(self._ids))),
            lapse_limits=self.lapse_limits,
            seats=seats,
        )
        return await self.run(lambda tx: reserve_seats(tx, command))

    async def best(
        self, user: int, quantity: int, section: str | None = None, tier: int | None = None
    ) -> ReservationRecord:
        command = ReserveBest(
            event_id=EVENT_ID,
            user_id=user_id(user),
            entry_id=await self.entry(user),
            reservation_id=ReservationId(UUID(int=0xA000_0000 + next(self._ids))),
            lapse_limits=self.lapse_limits,
            quantity=quantity,
            section_id=None if section is None else section_id(section),
            tier_id=None if tier is None else tier_id(tier),
        )
        return await self.run(lambda tx: reserve_best(tx, command))

    async def release(self, user: int, reservation_id: ReservationId) -> None:
        command = ReleaseReservation(EVENT_ID, user_id(user), reservation_id)
        await self.run(lambda tx: release_reservation(tx, command))

    async def freeze(
        self, user: int, reservation_id: ReservationId, order: int, due_at_ms: int
    ) -> ReservationRecord:
        return await self.run(
            lambda tx: freeze_reservation(
                tx, EVENT_ID, user_id(user), reservation_id, order_id(order), due_at_ms
            )
        )

    async def thaw(self, reservation_id: ReservationId) -> None:
        await self.run(lambda tx: thaw_reservation(tx, EVENT_ID, reservation_id))

    async def sell(self, reservation_id: ReservationId) -> ReservationRecord:
        return await self.run(lambda tx: sell_reservation(tx, EVENT_ID, reservation_id))

    async def buy(self, user: int, *seats: SeatNumber, order: int = 1) -> ReservationRecord:
        """The seats sold to the buyer, by all steps that lead there."""
        held = await self.reserve(user, *seats)
        await self.freeze(user, held.reservation_id, order, self.clock.now_ms() + 60_000)
        return await self.sell(held.reservation_id)

    async def give_back(self, user: int, order: int, *seats: SeatNumber) -> None:
        await self.run(lambda tx: return_seats(tx, EVENT_ID, user_id(user), order_id(order), seats))

    async def expire(self, limit: int = 100) -> int | None:
        return await self.run(lambda tx: expire_reservations(tx, EVENT_ID, limit, self.lapse_limits))

    async def block(self, *seats: SeatNumber) -> int:
        return await self.run(lambda tx: block_seats(tx, BlockSeats(EVENT_ID, seats)))

    async def unblock(self, *seats: SeatNumber) -> int:
        return await self.run(lambda tx: unblock_seats(tx, BlockSeats(EVENT_ID, seats)))

    def seat(self, name: str) -> SeatNumber:
        """The seat called "Section/Row/Number"."""
        return self.read(lambda reader: seats_by_name(reader, EVENT_ID)[name])

    def all_seats(self, reader: Reader) -> dict[str, SeatNumber]:
        """Every seat by its name, in the order of the hall."""
        return seats_by_name(reader, EVENT_ID)

    def seats(self, *names: str) -> tuple[SeatNumber, ...]:
        by_name = self.read(lambda reader: seats_by_name(reader, EVENT_ID))
        return tuple(by_name[name] for name in names)

    def state(self, name: str) -> SeatState:
        seat = self.seat(name)
        return self.read(lambda reader: seat_states(reader, EVENT_ID, [seat]))[0][0]

    def reservation(self, reservation_id: ReservationId) -> ReservationRecord:
        found = self.read(lambda reader: RESERVATIONS.get(reader, self.partition, reservation_id))
        assert found is not None
        return found

    def total(self) -> CountRecord:
        total = self.read(lambda reader: TOTAL.get(reader, self.partition))
        assert total is not None
        return total

    def purchases(self, user: int) -> PurchaseRecord | None:
        return self.read(lambda reader: PURCHASES.get(reader, self.partition, user_id(user)))

    def recount(self) -> None:
        """Fails unless all that is counted or indexed equals what the rows and the reservations say."""
        self.read(lambda reader: recount(reader, EVENT_ID))

    def everything(self) -> dict[bytes, bytes]:
        """The whole partition but the engine's own part of it, to see that nothing has changed."""

        def read(reader: Reader) -> dict[bytes, bytes]:
            prefix = bytes((len(self.partition),)) + self.partition + b"\x10"
            lo, hi = prefix + (1).to_bytes(8, "big"), prefix + b"\xff"
            return dict(reader.scan(lo, hi))  # type: ignore[arg-type]  # keys, made by hand here

        return self.read(read)


Stage = InventoryStage[HandClock]
"""A stage whose time is set by hand."""


def user_id(user: int) -> UserId:
    return UserId(UUID(int=0xB000_0000 + user))


def order_id(order: int) -> OrderId:
    return OrderId(UUID(int=0xC000_0000 + order))


@contextmanager
def inventory(path: Path) -> Iterator[Stage]:
    """A stage in a new store, its clock at the opening of the sale; its event has yet to be put."""
    clock = HandClock(OPENS_MS)
    with open_store(path, clock) as engine:
        yield InventoryStage(engine, clock)
