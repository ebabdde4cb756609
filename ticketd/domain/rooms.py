"""What a buyer asks of the waiting room: to join it, to be let shop once called, to leave; and what an operator sets.

Each event has one room, first come first served. Who is let in when is ``ticketd.domain.admission``'s. An entry that
has ended keeps its record, so that its buyer can be told how; its buyer may join anew.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.events import RoomChanged
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import (
    ENTRIES,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
    PRESALE_JOINS,
    SALE,
    event_partition,
)
from storage.schema.records import EntryRecord
from storage.schema.states import LIVE_ENTRY_STATES, EntryState
from ticketd.domain.admission import (
    FEWEST_FORGOTTEN,
    fill_places,
    forget_admissions,
)
from ticketd.domain.draws import prepare_draw, settle_opening
from ticketd.domain.hoarding import check_address
from ticketd.domain.room_book import RoomBook, RoomReading, entry_id_of, is_due
from ticketd.domain.room_settings import planned_room, with_room
from ticketd.domain.sales import SalePhase, sale_opens_ms
from ticketd.domain.times import rfc3339
from ticketd.domain.waits import lobby_quiet_ms, lobby_wait_ms, wait_ms
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_seed

GIVEN_ON_AT_ONCE: Final = 8
"""How many are let in at most by the commit in which a place falls free; the room's task lets in the rest."""

QUEUE_FULL_RETRY_SECONDS: Final = 30


class JoinRoom(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer wants to join. ``device_hash`` stands for the device, ``entry_id`` is new; ``draw_seed`` is for a lobby
    whose draw was never prepared.

    ``address_hash`` stands for the address that the buyer calls from, None where it is nobody's; it may have so many
    live entries (0: any number).
    """

    event_id: EventId
    user_id: UserId
    device_hash: bytes
    entry_id: EntryId
    presale_code: str | None = None
    draw_seed: bytes = msgspec.field(default_factory=new_seed)
    address_hash: bytes | None = None
    max_entries_per_address: int = 0


class JoinedRoom(msgspec.Struct, frozen=True, kw_only=True):
    """A place taken: ``position`` is 1 for the next in line, 0 for READY and LOBBY; ``queue_size`` counts all who wait,
    this buyer included; ``wait_ms`` is an estimate, ``quiet_ms`` how long one in the lobby may keep still and miss no
    turn."""

    entry: EntryRecord
    position: int
    queue_size: int
    wait_ms: int
    quiet_ms: int | None = None


class ClaimAccess(msgspec.Struct, frozen=True):
    """A buyer has seen that it is their turn. ``kid`` names the key that signs the access token."""

    event_id: EventId
    entry_id: EntryId
    kid: str


class LeaveRoom(msgspec.Struct, frozen=True):
    """A buyer gives up the place."""

    event_id: EventId
    entry_id: EntryId


class SetRoom(msgspec.Struct, frozen=True, kw_only=True):
    """An operator changes the room; None leaves a setting as it is. Counts and rates are at least 1."""

    event_id: EventId
    paused: bool | None = None
    max_active: int | None = None
    admit_per_minute: int | None = None
    capacity: int | None = None


def join_room(tx: Transaction, command: JoinRoom) -> JoinedRoom:
    """Takes a place: READY if nobody waits and one more may shop, LOBBY in the lobby, else QUEUED.

    Refuses, in this order: INVALID_EVENT_ID; SALE_ENDED with ``reason`` CANCELLED, ENDED or SOLD_OUT; SALE_NOT_OPEN
    with ``opens_at``; PRESALE_CODE_REQUIRED with ``reason`` MISSING, UNKNOWN or USED_UP; ALREADY_IN_QUEUE;
    DEVICE_ALREADY_IN_QUEUE; RATE_LIMITED with ``reason`` ADDRESS_ENTRIES; QUEUE_FULL when as many wait as the room's
    capacity allows and this buyer would, too.
    """
    book = RoomBook.open(tx, command.event_id)
    if book is None:
        raise Refusal(ErrorCode.INVALID_EVENT_ID)
    _check_sale_is_joinable(book)
    presale_joins = _presale_joins(book, command.presale_code) if book.phase is SalePhase.PRESALE else None
    overdue = _entries_in_the_way(book, command)
    check_address(book, command.address_hash, command.max_entries_per_address)
    if not _may_go_straight_in(book) and book.queue_size >= book.sale.room.capacity:
        raise Refusal(ErrorCode.QUEUE_FULL, retry_after_seconds=QUEUE_FULL_RETRY_SECONDS)

    for entry in overdue:
        book.end_entry(entry, EntryState.EXPIRED)
    if overdue:
        fill_places(book, GIVEN_ON_AT_ONCE)
    if presale_joins is not None and command.presale_code is not None:
        PRESALE_JOINS.put(tx, presale_joins + 1, book.partition, command.presale_code)
    joined = _take_place(book, command)
    book.save()
    return joined


def claim_access(tx: Transaction, command: ClaimAccess) -> EntryRecord:
    """Starts the shopping window of a READY entry; one that is SHOPPING, or still waits, is returned as it is.

    The window's end is the entry's ``due_at_ms``. Refuses QUEUE_ENTRY_EXPIRED with ``status``, also when the time to
    claim is over.
    """
    book, entry = _open_live_entry(tx, command.event_id, command.entry_id)
    if entry.state is not EntryState.READY:
        return entry
    shopping = replace(
        entry,
        state=EntryState.SHOPPING,
        due_at_ms=tx.now_ms + book.sale.room.access_seconds * 1000,
        access_kid=command.kid,
        access_issued_at_ms=tx.now_ms,
    )
    book.write_entry(entry, shopping)
    book.save()
    return shopping


def leave_room(tx: Transaction, command: LeaveRoom) -> None:
    """Gives up a live entry; the place of one who was let in goes to the next in line in the same commit.

    A hold that the buyer has lives on until its own end. Refuses QUEUE_ENTRY_EXPIRED with ``status``.
    """
    book, entry = _open_live_entry(tx, command.event_id, command.entry_id)
    book.end_entry(entry, EntryState.LEFT)
    fill_places(book, GIVEN_ON_AT_ONCE)
    book.save()


def finish_entry(tx: Transaction, event_id: EventId, entry_id: EntryId) -> None:
    """Ends an entry since its order was placed; its place, if it still had one, goes to the next in line.

    An entry that is done already, or gone, is left as it is: a hold outlives the entry, and one buyer may have two.
    """
    book = RoomBook.open(tx, event_id)
    entry = None if book is None else book.find_entry(entry_id)
    if book is None or entry is None or entry.state is EntryState.DONE:
        return
    book.end_entry(entry, EntryState.DONE)
    fill_places(book, GIVEN_ON_AT_ONCE)
    book.save()


def find_place(
    reader: Reader, event_id: EventId, entry_id: EntryId, now_ms: int
) -> tuple[RoomReading, EntryRecord]:
    """A live entry and its room.

    Refuses QUEUE_ENTRY_EXPIRED with ``status`` EXPIRED (also for an entry that is gone), LEFT or DONE.
    """
    reading = RoomReading.of(reader, event_id, now_ms)
    if reading is None:
        raise Refusal(ErrorCode.QUEUE_ENTRY_EXPIRED, details={"status": EntryState.EXPIRED.value})
    return reading, find_live_entry(reader, reading, entry_id)[0]


def find_live_entry(
    reader: Reader, reading: RoomReading, entry_id: EntryId
) -> tuple[EntryRecord, EntryState]:
    """A live entry of a room that is read already, and its standing. Refuses as ``find_place``."""
    entry = ENTRIES.get(reader, reading.partition, entry_id)
    standing = EntryState.EXPIRED if entry is None else reading.standing(entry)
    if entry is None or standing not in LIVE_ENTRY_STATES:
        raise Refusal(ErrorCode.QUEUE_ENTRY_EXPIRED, details={"status": standing.value})
    return entry, standing


def find_own_entry(reader: Reader, event_id: EventId, user_id: UserId, now_ms: int) -> EntryRecord:
    """The live entry that a user has in an event's room.

    Refuses, in this order: INVALID_EVENT_ID; QUEUE_ENTRY_EXPIRED with ``status`` EXPIRED, also if there never was one.
    """
    reading = RoomReading.of(reader, event_id, now_ms)
    if reading is None:
        raise Refusal(ErrorCode.INVALID_EVENT_ID)
    entry_id = LIVE_BY_USER.get(reader, reading.partition, user_id)
    if entry_id is None:
        raise Refusal(ErrorCode.QUEUE_ENTRY_EXPIRED, details={"status": EntryState.EXPIRED.value})
    return find_entry(reader, event_id, entry_id, now_ms)


def find_entry(reader: Reader, event_id: EventId, entry_id: EntryId, now_ms: int) -> EntryRecord:
    """A live entry. Refuses what ``find_place`` refuses."""
    return find_place(reader, event_id, entry_id, now_ms)[1]


def require_shopping(reader: Reader, event_id: EventId, entry_id: EntryId, now_ms: int) -> EntryRecord:
    """The entry of a buyer whose shopping window is open at ``now_ms``. Refuses ACCESS_EXPIRED."""
    entry = ENTRIES.get(reader, event_partition(event_id), entry_id)
    # The standing of one who shops depends on nothing else in the room.
    if entry is None or entry.state is not EntryState.SHOPPING or is_due(entry, now_ms):
        raise Refusal(ErrorCode.ACCESS_EXPIRED)
    return entry


def set_room(tx: Transaction, command: SetRoom) -> None:
    """Changes the settings that are given, pauses or resumes. Refuses EVENT_NOT_FOUND.

    Nobody who was let in is sent away by a smaller ``max_active``, nobody who waits by a smaller ``capacity``. Who may
    come in by the new settings is let in at once, the first few in this commit. The event file's settings are kept
    beside those in force.
    """
    book = RoomBook.open(tx, command.event_id)
    if book is None:
        raise Refusal(ErrorCode.EVENT_NOT_FOUND)
    settings = book.sale.room
    settings = replace(
        settings,
        max_active=settings.max_active if command.max_active is None else command.max_active,
        admit_per_minute=(
            settings.admit_per_minute if command.admit_per_minute is None else command.admit_per_minute
        ),
        capacity=settings.capacity if command.capacity is None else command.capacity,
    )
    if settings != book.sale.room:
        book.sale = with_room(book.sale, planned_room(book.sale), settings)
        SALE.put(tx, book.sale, book.partition)
    if command.paused is not None:
        book.room = replace(book.room, paused=command.paused)
    fill_places(book, GIVEN_ON_AT_ONCE)
    book.save()
    tx.emit(book.partition, RoomChanged(event_id=command.event_id))


def _check_sale_is_joinable(book: RoomBook) -> None:
    if book.phase in {SalePhase.CANCELLED, SalePhase.ENDED, SalePhase.SOLD_OUT}:
        raise Refusal(ErrorCode.SALE_ENDED, details={"reason": book.phase.value})
    if book.phase is SalePhase.UPCOMING:
        room, opens_at_ms = book.sale.room, sale_opens_ms(book.sale)
        if room.enabled and room.lobby_opens_ms is not None:
            opens_at_ms = min(opens_at_ms, room.lobby_opens_ms)
        raise Refusal(ErrorCode.SALE_NOT_OPEN, details={"opens_at": rfc3339(opens_at_ms)})


def _presale_joins(book: RoomBook, given: str | None) -> int:
    """How many joined with this code so far, all but the last that it is good for; else refuses."""
    if given is None:
        raise Refusal(ErrorCode.PRESALE_CODE_REQUIRED, details={"reason": "MISSING"})
    max_joins = next((known.max_joins for known in book.sale.presale_codes if known.code == given), None)
    if max_joins is None:
        raise Refusal(ErrorCode.PRESALE_CODE_REQUIRED, details={"reason": "UNKNOWN"})
    joins = PRESALE_JOINS.get(book.tx, book.partition, given) or 0
    if joins >= max_joins:
        raise Refusal(ErrorCode.PRESALE_CODE_REQUIRED, details={"reason": "USED_UP"})
    return joins


def _entries_in_the_way(book: RoomBook, command: JoinRoom) -> list[EntryRecord]:
    """Refuses a user or a device that has its places already; returns those of their entries whose time is over, though
    the lapse is not written yet."""
    overdue: dict[EntryId, EntryRecord] = {}
    of_user = LIVE_BY_USER.get(book.tx, book.partition, command.user_id)
    if of_user is not None:
        entry = book.entry(of_user)
        if book.standing(entry) is not EntryState.EXPIRED:
            raise Refusal(ErrorCode.ALREADY_IN_QUEUE)
        overdue[of_user] = entry
    live = 0
    for _, entry_id in LIVE_BY_DEVICE.scan(book.tx, book.partition, command.device_hash):
        entry = book.entry(entry_id_of(entry_id))
        if book.standing(entry) is EntryState.EXPIRED:
            overdue[entry.entry_id] = entry
            continue
        live += 1
        if live >= book.sale.room.max_entries_per_device:
            raise Refusal(ErrorCode.DEVICE_ALREADY_IN_QUEUE)
    return list(overdue.values())


def _may_go_straight_in(book: RoomBook) -> bool:
    return book.ahead_of_a_joiner == 0 and book.admits_now()


def _take_place(book: RoomBook, command: JoinRoom) -> JoinedRoom:
    settle_opening(book, command.draw_seed)
    # A room has one lobby: once it is drawn, whoever joins stands behind it, though the opening was put off.
    in_lobby = book.phase is SalePhase.LOBBY and not book.lobby_is_drawn
    if in_lobby:
        prepare_draw(book.tx, book.event_id, command.draw_seed)
    straight_in = _may_go_straight_in(book)
    position = 0 if in_lobby or straight_in else book.ahead_of_a_joiner + 1
    entry = EntryRecord(
        entry_id=command.entry_id,
        user_id=command.user_id,
        device_hash=command.device_hash,
        address_hash=command.address_hash,
        seq=book.take_seqs(1),
        state=EntryState.LOBBY if in_lobby else EntryState.QUEUED,
        joined_at_ms=book.now_ms,
    )
    if straight_in:
        entry = book.admit(None, entry)
        forget_admissions(book, FEWEST_FORGOTTEN)
    else:
        book.write_entry(None, entry)
    return JoinedRoom(
        entry=entry,
        position=position,
        queue_size=book.queue_size,
        wait_ms=lobby_wait_ms(book, book.tx) if in_lobby else wait_ms(book, book.tx, position),
        quiet_ms=lobby_quiet_ms(book) if in_lobby else None,
    )


def _open_live_entry(tx: Transaction, event_id: EventId, entry_id: EntryId) -> tuple[RoomBook, EntryRecord]:
    entry = find_entry(tx, event_id, entry_id, tx.now_ms)
    book = RoomBook.open(tx, event_id)
    if book is None:
        raise LookupError(f"event {event_id} has an entry but no sale")
    return book, entry
