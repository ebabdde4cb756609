"""A whole sale on virtual time: the real tasks and a real store, a crowd that joins, shops and leaves, and beside them
the reference, which must agree with every move, every refusal and every position that is looked at.

Most buyers speak to the domain, many in one commit, as the writer groups them; a few take the whole way of a request.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

import trio
import trio.testing

from config.settings import RateLimitSettings, Settings, StorageSettings
from storage.engine import Change, Command, Transaction
from storage.schema.events import EntryMoved, LobbyDrawn
from storage.schema.ids import EntryId, EventId, ReservationId, SeatNumber, UserId
from storage.schema.layout import DRAW, ROOM, TOTAL, event_partition
from storage.schema.records import CountRecord, RoomRecord
from tests.sim.crowd import HOLD_MS, LOBBY_MS, MINUTE_MS, OPENS_MS, PRESALE_MS, SECOND_MS, Crowd
from tests.sim.reference import WAITING, Deed, Difference, Move, Reference, Wish
from tests.support.daemon import START_MS, Daemon, open_daemon
from tests.support.hand_draw import hand_draw
from ticketd.credentials.devices import hash_device
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.reservations import ReleaseReservation, ReserveBest, release_reservation, reserve_best
from ticketd.domain.rooms import (
    ClaimAccess,
    JoinRoom,
    LeaveRoom,
    SetRoom,
    claim_access,
    finish_entry,
    join_room,
    leave_room,
    set_room,
)
from ticketd.errors import Refusal
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
from ticketd.views.places import find_standing

EVENT_ID: Final = EventId(UUID("0190a0b0-0000-7000-8000-0000000000a1"))
PARTITION: Final = event_partition(EVENT_ID)
CODE: Final = "FAN"
SEATS: Final = 400
BATCH: Final = 200
"""Most deeds in one commit."""
MAP_BYTES: Final = 64 * 1024**3
LOOKS: Final = 50
"""Random places that are looked at each time that everything is quiet."""
_STRANGERS: Final = 1 << 40
_ENTRIES: Final = 0x0190A0B0_0000_7000_8000 << 48
_HOLDS: Final = 0x0190A0B0_0001_7000_8000 << 48
_RESERVE, _RELEASE = 8, 9
_SEED: Final = bytes(range(32))
"""Comes with each join, and is not the event's: the draw was prepared with another."""

# What the operator does meanwhile, by the time since the start: presale buyers who must wait, so that some stand before
# the lobby; then smaller settings, and the old ones again.
_OPERATOR: Final[tuple[tuple[int, float, float, bool], ...]] = (
    (PRESALE_MS + 3 * MINUTE_MS, 1.0, 1.0, True),
    (OPENS_MS + 20 * SECOND_MS, 1.0, 1.0, False),
    (OPENS_MS + 3 * MINUTE_MS, 1.0, 0.5, False),
    (OPENS_MS + 4 * MINUTE_MS, 0.5, 1.0, False),
    (OPENS_MS + 5 * MINUTE_MS, 1.0, 1.0, False),
)


@dataclass
class Figures:
    """What a sale consisted of."""

    commits: int = 0
    joined: int = 0
    refused: int = 0
    looked: int = 0
    asked: int = 0
    holds: int = 0
    longest_line: int = 0
    moves: dict[str, int] = field(default_factory=dict)


@dataclass
class _Batch:
    """Deeds that go into one commit, as far as they have run."""

    done: list[Deed] = field(default_factory=list)
    over_the_api: int | None = None

    def has_made(self, moves: Sequence[Move]) -> bool:
        if self.over_the_api is not None:
            return any(move.number == self.over_the_api and move.state != "EXPIRED" for move in moves)
        return bool(self.done)


class SimulatedSale:
    """One sale. ``tell`` is called with a line of progress for each virtual minute."""

    def __init__(self, daemon: Daemon, crowd: Crowd, tell: Callable[[str], None]) -> None:
        self.daemon = daemon
        self.crowd = crowd
        self.figures = Figures()
        self.rules = crowd.rules(START_MS)
        self.reference = Reference(self.rules)
        self.entries: dict[int, EntryId] = {}
        self.tokens: dict[int, str] = {}
        self.seats: dict[SeatNumber, tuple[int, int]] = {}
        self._engine = daemon.services.engine
        self._tell = tell
        self._random = random.Random(crowd.seed)
        self._plan: list[int] = [
            (START_MS + crowd.life(number).joins_ms) << 44 | Wish.JOIN.value << 40 | number
            for number in range(crowd.joiners)
        ]
        heapq.heapify(self._plan)
        self._batch: _Batch | None = None
        self._commitment = b""
        self._placed = (0, 0)
        """Where the first of the newest batch stands, and how many wait, as of its commit."""
        self._difference: Difference | None = None
        self._hall = (self.rules.max_active, self.rules.admit_per_minute)

    async def run(self) -> None:
        """Runs the sale until everybody has gone. Raises the first Difference."""
        await self._put_event()
        with self._engine.snapshot(PARTITION) as view:
            draw = DRAW.get(view, PARTITION)
        self._commitment = b"" if draw is None else sha256(draw.seed).digest()
        unsubscribe = self._engine.subscribe(self._notice)
        try:
            await self._play()
        finally:
            unsubscribe()
        self._check_end()

    async def _play(self) -> None:
        operator = list(_OPERATOR)
        told_ms = START_MS
        while self._plan or self.reference.queue_size or self.reference.active or self.seats:
            await self.daemon.services.clock.wait_until_ms(self._next_look_ms())
            now_ms = self._now_ms()
            self.reference.pass_time(now_ms)
            while operator and now_ms >= START_MS + operator[0][0]:
                await self._operate(*operator.pop(0)[1:])
            await self._do_what_is_due(now_ms)
            await trio.testing.wait_all_tasks_blocked()
            await self._look()
            if self._now_ms() - told_ms >= MINUTE_MS:
                told_ms += MINUTE_MS
                self._tell(self._progress(told_ms))

    def _next_look_ms(self) -> int:
        """Some time in the next seconds; never past the opening, so that much is done at its very stroke."""
        now_ms = self._now_ms()
        next_ms = now_ms + self._random.randint(1, 2 * SECOND_MS)
        return min(next_ms, self.rules.opens_ms) if now_ms < self.rules.opens_ms else next_ms

    # --- what people do ---------------------------------------------------------------------------------------------

    async def _do_what_is_due(self, now_ms: int) -> None:
        due: list[tuple[int, int]] = []
        while self._plan and self._plan[0] >> 44 <= now_ms:
            deed = heapq.heappop(self._plan)
            due.append((deed >> 40 & 0xF, deed & 0xFF_FFFF_FFFF))
        self._random.shuffle(due)
        together: list[tuple[int, int]] = []
        most = self._random.randint(1, BATCH)
        for kind, number in due:
            if kind in {Wish.JOIN.value, Wish.CLAIM.value} and self.crowd.speaks_over_the_api(number):
                await self._ask_over_the_api(Wish(kind), number)
            else:
                together.append((kind, number))
            if len(together) >= most:
                await self._do_together(together)
                together, most = [], self._random.randint(1, BATCH)
        if together:
            await self._do_together(together)

    async def _do_together(self, kinds: list[tuple[int, int]]) -> None:
        """One commit of many deeds, each of which is refused or not for itself."""
        batch = self._batch = _Batch()
        now_ms = self._now_ms()
        waiting = [end for end in self.reference.first_and_last() if end in self.entries]
        forged = [(wish.value, number) for number in waiting for wish in (Wish.JOIN_AGAIN, Wish.SHARE_DEVICE)]

        def run(tx: Transaction) -> None:
            batch.done = []
            for kind, number in forged[:2] + kinds:
                if kind in {_RESERVE, _RELEASE}:
                    self._shop(tx, kind, number)
                    continue
                wish = Wish(kind)
                try:
                    told = self._carry_out(tx, wish, number)
                except Refusal as refusal:
                    # Every check stands before the first write, so that what is refused leaves nothing.
                    batch.done.append(Deed(wish, number, refusal.code.name))
                else:
                    batch.done.append(Deed(wish, number, told=told))

        await self._engine.submit(Command("crowd", (PARTITION,), run))
        if self._batch is batch:  # nothing of it moved anybody
            self._batch = None
            self.reference.replay((), batch.done)
        self._raise_difference()
        for deed in batch.done:
            self._after(deed, now_ms)

    def _carry_out(self, tx: Transaction, wish: Wish, number: int) -> tuple[int, int] | None:
        match wish:
            case Wish.JOIN | Wish.JOIN_AGAIN | Wish.SHARE_DEVICE:
                user = number + _STRANGERS if wish is Wish.SHARE_DEVICE else number
                joined = join_room(tx, self._join(user, number))
                return joined.position, joined.queue_size
            case Wish.LEAVE:
                leave_room(tx, LeaveRoom(EVENT_ID, self.entries[number]))
            case Wish.CLAIM:
                claim_access(tx, ClaimAccess(EVENT_ID, self.entries[number], "sim"))
            case Wish.FINISH:
                finish_entry(tx, EVENT_ID, self.entries[number])
        return None

    def _join(self, user: int, device: int) -> JoinRoom:
        return JoinRoom(
            event_id=EVENT_ID,
            user_id=UserId(UUID(int=user)),
            device_hash=hash_device(f"device of {device}"),
            entry_id=EntryId(UUID(int=_ENTRIES + (self._random.getrandbits(16) << 32) + device)),
            presale_code=CODE
            if self.rules.presale_ms <= self.reference.now_ms < self.rules.opens_ms
            else None,
        )

    def _after(self, deed: Deed, now_ms: int) -> None:
        """Plans what the same buyer does next."""
        life = self.crowd.life(deed.number)
        if deed.refusal:
            self.figures.refused += 1
            if deed.wish is Wish.JOIN:
                self._later(now_ms + 30 * SECOND_MS + life.joins_ms % SECOND_MS, Wish.JOIN.value, deed.number)
        elif deed.wish is Wish.JOIN:
            self.figures.joined += 1
            if life.gives_up_ms is not None:
                self._later(now_ms + life.gives_up_ms, Wish.LEAVE.value, deed.number)
        elif deed.wish is Wish.CLAIM:
            if life.reserves:
                self._later(now_ms + 1, _RESERVE, deed.number)
            if life.ends_ms is not None:
                ends = Wish.FINISH if life.orders else Wish.LEAVE
                self._later(now_ms + life.ends_ms, ends.value, deed.number)

    def _later(self, at_ms: int, kind: int, number: int) -> None:
        heapq.heappush(self._plan, at_ms << 44 | kind << 40 | number)

    def _shop(self, tx: Transaction, kind: int, number: int) -> None:
        """Holds a seat, or gives it up; no seat may be held twice."""
        user, hold_id = UserId(UUID(int=number)), ReservationId(UUID(int=_HOLDS + number))
        try:
            if kind == _RELEASE:
                release_reservation(tx, ReleaseReservation(EVENT_ID, user, hold_id))
                self.seats = {seat: held for seat, held in self.seats.items() if held[0] != number}
                return
            hold = reserve_best(
                tx,
                ReserveBest(
                    event_id=EVENT_ID,
                    user_id=user,
                    entry_id=self.entries[number],
                    reservation_id=hold_id,
                    quantity=1,
                ),
            )
        except Refusal:
            return
        for seat in hold.seats:
            holder, until_ms = self.seats.get(seat, (number, 0))
            if until_ms > tx.now_ms:
                raise Difference(f"seat {seat} is held by {holder} and by {number}")
            self.seats[seat] = (number, hold.expires_at_ms)
        self.figures.holds += 1
        if self.crowd.life(number).releases:
            self._later(tx.now_ms + HOLD_MS // 2, _RELEASE, number)

    async def _ask_over_the_api(self, wish: Wish, number: int) -> None:
        """Joins, or asks for the access token, as a client does."""
        batch = self._batch = _Batch(done=[Deed(wish, number)], over_the_api=number)
        now_ms = self._now_ms()
        client = self.daemon.client().with_token(None, f"device of {number}")
        if wish is Wish.JOIN:
            command = self._join(number, number)
            body = {
                "event_id": str(EVENT_ID),
                "user_id": str(UUID(int=number)),
                "presale_code": command.presale_code,
            }
            body = {name: value for name, value in body.items() if value is not None}
            answer = await client.post("/v1/queue/join", body | {"device_fingerprint": client.device})
        else:
            answer = await client.get(f"/v1/queue/status?queue_token={self.tokens[number]}")
        refusal = "" if answer.status == 200 else answer.code
        deed = Deed(wish, number, refusal)
        if self._batch is batch:
            self._batch = None
            self.reference.replay((), (deed,))
        self._raise_difference()
        if wish is Wish.JOIN and not refusal:
            self.tokens[number] = answer.json["queue_token"]
            told = (answer.json["queue_position"], answer.json["queue_size"])
            if told != self._placed:
                raise Difference(f"{number} is answered {told}, not {self._placed}")
        self.figures.asked += 1
        self._after(deed, now_ms)

    async def _operate(self, active: float, rate: float, paused: bool) -> None:
        self.rules.max_active = max(int(self._hall[0] * active), 1)
        self.rules.admit_per_minute = max(int(self._hall[1] * rate), 1)
        self.rules.paused = paused
        command = SetRoom(
            event_id=EVENT_ID,
            paused=paused,
            max_active=self.rules.max_active,
            admit_per_minute=self.rules.admit_per_minute,
        )
        await self._engine.submit(Command("set", (PARTITION,), lambda tx: set_room(tx, command)))
        self._raise_difference()

    # --- what is seen -----------------------------------------------------------------------------------------------

    def _notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: gives each commit to the reference. A difference is kept; raised here it would be the
        engine's."""
        if self._difference is not None:
            return
        try:
            self._replay(changes)
        except Difference as difference:
            self._difference = difference

    def _replay(self, changes: Sequence[Change]) -> None:
        moves: list[Move] = []
        self.reference.pass_time(changes[0].at_ms)
        for change in changes:
            event = change.event
            if isinstance(event, LobbyDrawn):
                self._reveal(event.entry_count)
            if isinstance(event, EntryMoved) and event.event_id == EVENT_ID:
                number = event.user_id.int
                if event.before is None:
                    self.entries[number] = event.entry_id
                moves.append(Move(number, event.after.value, event.before is None))
        if not moves:
            return
        self.figures.commits += 1
        deeds: list[Deed] = []
        if self._batch is not None and self._batch.has_made(moves):
            deeds, self._batch = self._batch.done, None
        self.reference.replay(moves, deeds)
        if deeds:
            self._placed = (self.reference.position(deeds[0].number), self.reference.queue_size)
        for move in moves:
            self.figures.moves[move.state] = self.figures.moves.get(move.state, 0) + 1
            if move.state == "READY":
                claims_ms = self.crowd.life(move.number).claims_ms
                if claims_ms is not None:
                    self._later(changes[0].at_ms + claims_ms, Wish.CLAIM.value, move.number)

    def _reveal(self, entry_count: int) -> None:
        """The order follows from the seed, whose hash was known before the first had joined, and from the list."""
        with self._engine.snapshot(PARTITION) as view:
            draw = DRAW.get(view, PARTITION)
        if draw is None or sha256(draw.seed).digest() != self._commitment:
            raise Difference("the draw was made from another seed than that of its commitment")
        listed = self.reference.list_of(entry_count)
        drawn = hand_draw(draw.seed, [self.entries[number] for number in listed])
        numbers = {self.entries[number]: number for number in listed}
        self.reference.reveal([numbers[EntryId(entry_id)] for entry_id in drawn])

    async def _look(self) -> None:
        """Everything is quiet: counters, some positions, the seats."""
        self._raise_difference()
        reference, now_ms = self.reference, self._now_ms()
        reference.check_settled()
        self.figures.longest_line = max(self.figures.longest_line, reference.queue_size)
        with self._engine.snapshot(PARTITION) as view:
            room = ROOM.get(view, PARTITION) or RoomRecord()
            total = TOTAL.get(view, PARTITION) or CountRecord()
        counted = (room.waiting + room.lobby, room.active, room.admitted)
        if counted != (reference.queue_size, reference.active, reference.admitted):
            raise Difference(f"the room counts {counted}, not as the reference does")
        self.seats = {seat: held for seat, held in self.seats.items() if held[1] > now_ms}
        if (total.held, total.free) != (len(self.seats), SEATS - len(self.seats)):
            raise Difference(f"{total.held} seats are held, not {len(self.seats)}")
        self._check_places(reference.first_and_last())
        if self.entries:
            top = min(max(self.entries), self.crowd.joiners - 1)
            self._check_places([self._random.randint(0, top) for _ in range(LOOKS)])
        if self.tokens:
            await self._check_over_the_api(self._random.choice(list(self.tokens)))

    def _check_places(self, numbers: list[int]) -> None:
        """Positions, read as the status endpoint reads them."""
        reference = self.reference
        with self._engine.snapshot(PARTITION) as view:
            for number in numbers:
                if reference.states.get(number) not in WAITING:
                    continue
                found = find_standing(view, self.daemon.services.positions, EVENT_ID, self.entries[number])
                expected = (reference.position(number), reference.queue_size)
                if (found.position, found.queue_size) != expected:
                    raise Difference(f"{number} is told {(found.position, found.queue_size)}, not {expected}")
                self.figures.looked += 1

    async def _check_over_the_api(self, number: int) -> None:
        if self.reference.states.get(number) not in WAITING:
            return
        client = self.daemon.client().with_token(None, f"device of {number}")
        answer = await client.get(f"/v1/queue/status?queue_token={self.tokens[number]}")
        expected = (self.reference.position(number), self.reference.queue_size)
        if answer.status != 200 or (answer.json["queue_position"], answer.json["queue_size"]) != expected:
            raise Difference(f"{number} is answered {answer.body!r}, not {expected}")
        self.figures.asked += 1

    def _check_end(self) -> None:
        """Everybody came in or went; nothing is left in the room."""
        positions = self.daemon.services.positions
        if positions.waiting(EVENT_ID) != 0:
            raise Difference(f"{positions.waiting(EVENT_ID)} stand in a line of nobody")
        if len(self.reference.states) != self.figures.joined:
            raise Difference(f"{self.figures.joined} joined, {len(self.reference.states)} have an entry")

    def _raise_difference(self) -> None:
        if self._difference is not None:
            raise self._difference

    def _now_ms(self) -> int:
        return self.daemon.services.clock.now_ms()

    def _progress(self, at_ms: int) -> str:
        reference = self.reference
        return (
            f"{(at_ms - START_MS) // MINUTE_MS:>4} min {self.figures.joined:>9,} joined "
            f"{reference.queue_size:>9,} wait {reference.active:>7,} in {reference.admitted:>9,} let in "
            f"{self.figures.looked:>8,} places looked at"
        )

    async def _put_event(self) -> None:
        command = PutEvent(plan=plan_for(self.crowd), draw_seed=self._random.randbytes(32))
        await self._engine.submit(
            Command("put_event", event_command_partitions(EVENT_ID), lambda tx: put_event(tx, command))
        )


def plan_for(crowd: Crowd) -> EventPlan:
    """An event whose lobby opens at the start."""
    rules = crowd.rules(START_MS)
    row = tuple(SeatPlan(str(number), 0) for number in range(1, 41))
    section = SectionPlan(
        section_id=UUID(int=10), name="Floor", rows=tuple(RowPlan(str(n), row) for n in range(SEATS // 40))
    )
    return EventPlan(
        event_id=EVENT_ID,
        name="A simulated sale",
        venue=VenuePlan(venue_id=UUID(int=1), name="Hall", city="Berlin", country="DE", timezone="UTC"),
        date_ms=START_MS + 90 * 86_400_000,
        presale_start_ms=rules.presale_ms,
        presale_codes=(PresaleCode(CODE, crowd.joiners),),
        general_sale_start_ms=rules.opens_ms,
        currency="USD",
        hold_seconds=HOLD_MS // 1000,
        tiers=(TierPlan(tier_id=UUID(int=2), name="Floor", price_minor=50_000),),
        sections=(section,),
        room=RoomPlan(
            capacity=rules.capacity,
            max_active=rules.max_active,
            admit_per_minute=rules.admit_per_minute,
            lobby_opens_ms=START_MS + LOBBY_MS,
            claim_seconds=rules.claim_ms // 1000,
            access_seconds=rules.access_ms // 1000,
        ),
    )


async def simulate(data: Path, crowd: Crowd, tell: Callable[[str], None]) -> Figures:
    """Runs a sale in the empty folder ``data``, under a Trio clock that is simulated. Raises the first Difference."""
    # A buyer of the simulation asks as often as it likes.
    limits = RateLimitSettings(enabled=False)
    settings = Settings(storage=StorageSettings(map_size_bytes=MAP_BYTES), rate_limits=limits)
    async with open_daemon(data, settings) as daemon:
        sale = SimulatedSale(daemon, crowd, tell)
        await sale.run()
        return sale.figures
