"""The product as the model knows it: the same transitions, made by the domain over the real engine's group commit.

Commands run as the daemon's writer runs them, many in one commit, over LMDB that is not synced. Answers are numbers, as
the model's are; what the model has no number for is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from storage.batch import GroupCommit, Job
from storage.engine import Command, Partition, Reader, Transaction
from storage.lmdb_engine import open_lmdb
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EntryId, OrderId, PaymentMethodId, ReservationId, SeatNumber, TicketId, UserId
from storage.schema.layout import (
    ENTRIES,
    LINE,
    LIVE_BY_USER,
    PURCHASES,
    RESERVATIONS,
    ROOM,
    ROWS,
    SYSTEM,
    TOTAL,
    buyer_partition,
    event_partition,
)
from storage.schema.records import AddressRecord, CountRecord, PurchaseRecord, RoomRecord
from storage.schema.states import LIVE_RESERVATION_STATES, EntryState
from storage.verify import Problem, verify_store
from tests.domain.inventory_recount import seats_by_name
from tests.domain.inventory_stage import EVENT_ID, OPENS_MS, make_plan
from tests.domain.room_stage import HandClock
from tests.ladder.model.bare import (
    ACCESS_MS,
    CAPACITY,
    CLAIM_MS,
    FREEZE_MS,
    HOLD_MS,
    QUEUED,
    READY,
    REFUSALS,
    SEATS,
    SHOPPING,
    USERS,
)
from ticketd.credentials.devices import hash_device
from ticketd.domain.admission import advance_room
from ticketd.domain.cancellation import CancelOrder, cancel_order
from ticketd.domain.checkout import (
    BeginCheckout,
    OrderStep,
    RecordAuthorised,
    RecordRefused,
    begin_checkout,
    record_authorised,
    record_refused,
)
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.order_book import load_order
from ticketd.domain.payment_methods import AddPaymentMethod, add_payment_method
from ticketd.domain.reservations import (
    ReleaseReservation,
    ReserveSeats,
    expire_reservations,
    release_reservation,
    reserve_seats,
)
from ticketd.domain.rooms import (
    ClaimAccess,
    JoinRoom,
    LeaveRoom,
    SetRoom,
    claim_access,
    join_room,
    leave_room,
    set_room,
)
from ticketd.domain.seats import BlockSeats, block_seats, unblock_seats
from ticketd.domain.settlement import ConfirmOrder, confirm_order
from ticketd.errors import Refusal
from ticketd.event_file.plan import RoomPlan

R = TypeVar("R")

BATCH: Final = 64
"""So many commands go into one commit."""
_NUMBERS: Final = {name: number for number, name in enumerate(REFUSALS)}
_PARTITION: Final = event_partition(EVENT_ID)
_BILLING: Final = AddressRecord(street="1 Quay", city="New York", postal_code="10001", country="US")
_USERS: Final = [UserId(UUID(int=0xA0_0000 + user)) for user in range(USERS)]
_DEVICES: Final = [hash_device(f"device {user}") for user in range(USERS)]
_CARDS: Final = [PaymentMethodId(UUID(int=0xD0_0000 + user)) for user in range(USERS)]
_BUYERS: Final[list[tuple[Partition, ...]]] = [(_PARTITION, buyer_partition(user), SYSTEM) for user in _USERS]
_EVENT_ALONE: Final = (_PARTITION,)
_ENTRIES, _HOLDS, _ORDERS, _TICKETS = (number << 64 for number in (1, 2, 3, 4))
_SEED: Final = bytes(32)
_STATES: Final = {EntryState.QUEUED: QUEUED, EntryState.READY: READY, EntryState.SHOPPING: SHOPPING}
_MANY: Final = 1000


class Product:
    """One event over a store of its own in ``folder``. ``limit`` is the purchase limit."""

    def __init__(self, folder: Path, limit: int = 3) -> None:
        self._clock = HandClock(OPENS_MS)
        self._backend = open_lmdb(folder / "store.lmdb", 256 * 1024 * 1024, synced=False)
        self._commits = GroupCommit(self._backend, self._clock, EVENT_CODEC, BATCH)
        self._entries = [EntryId(UUID(int=_ENTRIES))] * USERS
        self._holds = [ReservationId(UUID(int=_HOLDS))] * USERS
        self._paid = 0
        self._orders: list[OrderId | None] = [None] * USERS
        self._seats: list[SeatNumber] = []
        self._count = 0
        self._prepare(limit)

    def _prepare(self, limit: int) -> None:
        plan = make_plan(
            {"Floor": {"A": SEATS}},
            purchase_limit=limit,
            hold_seconds=HOLD_MS // 1000,
            room=RoomPlan(
                capacity=CAPACITY,
                max_active=3,
                admit_per_minute=6,
                claim_seconds=CLAIM_MS // 1000,
                access_seconds=ACCESS_MS // 1000,
            ),
        )
        self._do(event_command_partitions(EVENT_ID), lambda tx: put_event(tx, PutEvent(plan=plan)))
        for user in range(USERS):
            card = AddPaymentMethod(
                user_id=_USERS[user],
                payment_method_id=_CARDS[user],
                gateway="sandbox",
                method_ref=f"pm_{user}",
                brand="Visa",
                last_four="4242",
                expiry_month=12,
                expiry_year=2030,
            )
            self._do(_BUYERS[user], lambda tx, card=card: add_payment_method(tx, card))  # type: ignore[misc]  # bound in the loop
        self._commit()
        with self._backend.view() as view:
            names = seats_by_name(view, EVENT_ID)
        self._seats = [names[f"Floor/A/{seat}"] for seat in range(1, SEATS + 1)]

    def close(self) -> None:
        """Lets go of the store."""
        self._commit()
        self._backend.close()

    def told(self, number: int) -> str:
        """The refusal of this number as people read it."""
        return REFUSALS[number] or "done"

    # --- the transitions, as the model names them -----------------------------------------------------------------

    def pass_time(self, by_ms: int) -> None:
        """So much later."""
        self._clock.at_ms += by_ms

    def settle(self) -> None:
        """What the tasks do by themselves."""

        def run(tx: Transaction) -> None:
            expire_reservations(tx, EVENT_ID, _MANY)
            advance_room(tx, EVENT_ID, _MANY)

        self._do(_EVENT_ALONE, run)

    def join(self, user: int) -> int:
        self._count += 1
        command = JoinRoom(
            event_id=EVENT_ID,
            user_id=_USERS[user],
            device_hash=_DEVICES[user],
            entry_id=EntryId(UUID(int=_ENTRIES + self._count)),
            draw_seed=_SEED,
        )
        answer = self._try(_EVENT_ALONE, lambda tx: join_room(tx, command))
        if not answer:
            self._entries[user] = command.entry_id
        return answer

    def leave(self, user: int) -> int:
        command = LeaveRoom(EVENT_ID, self._entries[user])
        return self._try(_EVENT_ALONE, lambda tx: leave_room(tx, command))

    def claim(self, user: int) -> int:
        command = ClaimAccess(EVENT_ID, self._entries[user], "kid")
        return self._try(_EVENT_ALONE, lambda tx: claim_access(tx, command))

    def set_room(self, max_active: int, rate: int, paused: bool) -> int:
        command = SetRoom(event_id=EVENT_ID, paused=paused, max_active=max_active, admit_per_minute=rate)
        return self._try(_EVENT_ALONE, lambda tx: set_room(tx, command))

    def reserve(self, user: int, wanted: tuple[int, ...]) -> int:
        self._count += 1
        command = ReserveSeats(
            event_id=EVENT_ID,
            user_id=_USERS[user],
            entry_id=self._entries[user],
            reservation_id=ReservationId(UUID(int=_HOLDS + self._count)),
            seats=tuple([self._seats[seat] for seat in wanted]),
        )

        def run(tx: Transaction) -> None:
            self._holds[user] = reserve_seats(tx, command).reservation_id

        return self._try(_EVENT_ALONE, run)

    def release(self, user: int) -> int:
        command = ReleaseReservation(EVENT_ID, _USERS[user], self._holds[user])
        return self._try(_EVENT_ALONE, lambda tx: release_reservation(tx, command))

    def pay(self, user: int) -> int:
        command = BeginCheckout(
            order_id=OrderId(UUID(int=_ORDERS + self._paid + 1)),
            event_id=EVENT_ID,
            user_id=_USERS[user],
            reservation_id=self._holds[user],
            payment_method_id=_CARDS[user],
            billing_address=_BILLING,
            delivery_method="MOBILE",
            gateway="sandbox",
            return_url="",
            freeze_ms=FREEZE_MS,
            resume_ms=FREEZE_MS,
        )
        answer = self._try(_BUYERS[user], lambda tx: begin_checkout(tx, command))
        if not answer:
            self._paid += 1
            self._orders[user] = command.order_id
        return answer

    def authorised(self, user: int) -> int:
        order = self._orders[user]
        if order is None:
            return 0
        step = RecordAuthorised(event_id=EVENT_ID, order_id=order, payment_ref=f"pi_{order}")
        return self._try(_BUYERS[user], lambda tx: record_authorised(tx, step))

    def refused(self, user: int) -> int:
        order = self._orders[user]
        if order is None:
            return 0
        step = RecordRefused(event_id=EVENT_ID, order_id=order, decline_code="card_declined")
        return self._try(_BUYERS[user], lambda tx: record_refused(tx, step))

    def captured(self, user: int) -> int:
        order = self._orders[user]
        if order is None:
            return 0
        step = OrderStep(event_id=EVENT_ID, order_id=order)
        return self._try(_BUYERS[user], lambda tx: self._confirm(tx, step))

    def _confirm(self, tx: Transaction, step: OrderStep) -> None:
        order = load_order(tx, EVENT_ID, step.order_id)
        first = _TICKETS + (step.order_id.int - _ORDERS) * SEATS
        command = ConfirmOrder(
            event_id=EVENT_ID,
            order_id=step.order_id,
            captured_minor=order.total_minor,
            ticket_ids=tuple(TicketId(UUID(int=first + seat)) for seat in range(len(order.seats))),
            seed=_SEED,
            kid="kid",
        )
        confirm_order(tx, command)

    def cancel(self, user: int, number: int) -> int:
        order = OrderId(UUID(int=_ORDERS + number))
        command = CancelOrder(event_id=EVENT_ID, order_id=order, user_id=_USERS[user])
        return self._try(_BUYERS[user], lambda tx: cancel_order(tx, command))

    def block(self, seat: int) -> int:
        command = BlockSeats(EVENT_ID, (self._seats[seat],))
        return self._try(_EVENT_ALONE, lambda tx: block_seats(tx, command))

    def unblock(self, seat: int) -> int:
        command = BlockSeats(EVENT_ID, (self._seats[seat],))
        return self._try(_EVENT_ALONE, lambda tx: unblock_seats(tx, command))

    # --- looking ------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """All of the store, once what has run is committed."""
        self._commit()
        with self._backend.view() as view:
            yield view

    def picture(self) -> dict[str, object]:
        """What can be seen of it, in the model's numbers."""
        with self.reading() as view:
            return self._picture(view)

    def problems(self) -> list[Problem]:
        """Everything that verification finds wrong."""
        with self.reading() as view:
            return list(verify_store(view))

    def _picture(self, view: Reader) -> dict[str, object]:
        room = ROOM.get(view, _PARTITION) or RoomRecord()
        total = TOTAL.get(view, _PARTITION) or CountRecord()
        line = [ENTRIES.get(view, _PARTITION, entry) for _, entry in LINE.scan(view, _PARTITION)]
        places: dict[int, object] = {}
        purchases: dict[int, object] = {}
        for user, user_id in enumerate(_USERS):
            entry_id = LIVE_BY_USER.get(view, _PARTITION, user_id)
            entry = None if entry_id is None else ENTRIES.get(view, _PARTITION, entry_id)
            if entry is not None and entry.due_at_ms is not None:
                places[user] = (_STATES[entry.state], entry.due_at_ms - OPENS_MS)
            has = PURCHASES.get(view, _PARTITION, user_id) or PurchaseRecord()
            if has.held or has.bought:
                purchases[user] = (has.held, has.bought)
        rows = [row for _, row in ROWS.scan(view, _PARTITION)]
        holds = [
            hold for _, hold in RESERVATIONS.scan(view, _PARTITION) if hold.state in LIVE_RESERVATION_STATES
        ]
        return {
            "line": [-1 if entry is None else _USERS.index(entry.user_id) for entry in line],
            "places": places,
            "counters": (room.waiting, room.active, room.admitted),
            "seats": list(rows[0].states) if rows else [0] * SEATS,
            "total": (total.free, total.held, total.sold, total.blocked),
            "purchases": purchases,
            "holds": sorted(
                (
                    _USERS.index(hold.user_id),
                    sorted(map(self._seats.index, hold.seats)),
                    hold.expires_at_ms - OPENS_MS,
                    hold.due_at_ms - OPENS_MS,
                )
                for hold in holds
            ),
        }

    # --- the engine ---------------------------------------------------------------------------------------------

    def _try(self, partitions: tuple[Partition, ...], run: Callable[[Transaction], object]) -> int:
        try:
            self._do(partitions, run)
        except Refusal as refusal:
            return _NUMBERS[refusal.code.name]
        return 0

    def _do(self, partitions: tuple[Partition, ...], run: Callable[[Transaction], R]) -> None:
        commits = self._commits
        job = Job(Command("model", partitions, run, command_id=_ID))
        commits.take(job)
        error = job.error
        if not job.is_settled():
            outcome = commits._batches[-1].outcomes[-1][1]
            error = outcome if isinstance(outcome, Exception) else None
        if commits.newest_size() >= BATCH:
            self._commit()
        if error is not None:
            raise error

    def _commit(self) -> None:
        while self._commits.has_work():
            writes = self._commits.begin()
            if writes is not None:
                self._backend.apply(writes.puts, writes.deletes)
            self._commits.end()


_ID: Final = UUID(int=0)
