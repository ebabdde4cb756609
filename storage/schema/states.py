"""The states of everything that has a life, each an enum and a table of its legal moves.

This one file is what the transitions obey, the tests walk, ``ticketd verify`` checks and ``scripts/draw-states`` draws.
It stands with the stored records, since a state is part of a record's form. It holds no reason why a move is made: that
is the domain's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, TypeVar

S = TypeVar("S", bound=enum.Enum)


class IllegalMove(Exception):
    """A transition tried a move that no table allows: a bug, never the caller's fault."""


class EntryState(enum.StrEnum):
    """A buyer's place in one event's waiting room. Once the lobby is drawn, LOBBY in a record means QUEUED."""

    LOBBY = "LOBBY"
    QUEUED = "QUEUED"
    READY = "READY"
    SHOPPING = "SHOPPING"
    DONE = "DONE"
    LEFT = "LEFT"
    EXPIRED = "EXPIRED"


class SeatState(enum.IntEnum):
    """One seat. The number is the byte that stands for it in a row's record."""

    AVAILABLE = 0
    RESERVED = 1
    SOLD = 2
    BLOCKED = 3


class ReservationState(enum.StrEnum):
    """A hold. PAYING: a payment is under way, and the hold may not end before its outcome (60 s at most)."""

    HELD = "HELD"
    PAYING = "PAYING"
    ORDERED = "ORDERED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


class OrderState(enum.StrEnum):
    """An order as its buyer sees it. INTENT is seen by nobody: a payment was begun, its outcome is not known."""

    INTENT = "INTENT"
    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class PaymentState(enum.StrEnum):
    """The money of one order. STARTED is seen by nobody: the gateway was, or will be, asked."""

    STARTED = "STARTED"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORIZED = "AUTHORIZED"
    CAPTURED = "CAPTURED"
    VOIDED = "VOIDED"
    REFUND_PENDING = "REFUND_PENDING"
    REFUNDED = "REFUNDED"
    FAILED = "FAILED"


class RefundState(enum.StrEnum):
    """A refund that the operator asked for. REFUSED: the gateway refuses it for good; another one may be asked for."""

    ASKED = "ASKED"
    DONE = "DONE"
    REFUSED = "REFUSED"


class DisputeState(enum.StrEnum):
    """A buyer's bank asks for the money back. INQUIRY: it only asks for reasons, and CLOSED is the end of that; no
    money moves. OPEN: it has taken the money until it has decided. WON: it has given it back to the seller. LOST: the
    buyer keeps it."""

    INQUIRY = "INQUIRY"
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    WON = "WON"
    LOST = "LOST"


class TicketState(enum.StrEnum):
    """One ticket. TRANSFERRED: it lives on as the recipient's ticket, with another code."""

    ACTIVE = "ACTIVE"
    TRANSFER_PENDING = "TRANSFER_PENDING"
    TRANSFERRED = "TRANSFERRED"
    USED = "USED"
    VOID = "VOID"


class TransferState(enum.StrEnum):
    """The offer of one ticket to another person."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    DECLINED = "DECLINED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


ENTRY_MOVES: Final[Mapping[EntryState, frozenset[EntryState]]] = {
    EntryState.LOBBY: frozenset({EntryState.READY, EntryState.LEFT, EntryState.EXPIRED}),
    EntryState.QUEUED: frozenset({EntryState.READY, EntryState.LEFT, EntryState.EXPIRED}),
    EntryState.READY: frozenset({EntryState.SHOPPING, EntryState.LEFT, EntryState.EXPIRED}),
    EntryState.SHOPPING: frozenset({EntryState.DONE, EntryState.LEFT, EntryState.EXPIRED}),
    # A hold outlives the shopping window; the order that it becomes still ends the entry.
    EntryState.EXPIRED: frozenset({EntryState.DONE}),
    EntryState.LEFT: frozenset({EntryState.DONE}),
    EntryState.DONE: frozenset(),
}

SEAT_MOVES: Final[Mapping[SeatState, frozenset[SeatState]]] = {
    SeatState.AVAILABLE: frozenset({SeatState.RESERVED, SeatState.BLOCKED}),
    SeatState.RESERVED: frozenset({SeatState.AVAILABLE, SeatState.SOLD}),
    SeatState.SOLD: frozenset({SeatState.AVAILABLE}),
    SeatState.BLOCKED: frozenset({SeatState.AVAILABLE}),
}

RESERVATION_MOVES: Final[Mapping[ReservationState, frozenset[ReservationState]]] = {
    ReservationState.HELD: frozenset(
        {ReservationState.PAYING, ReservationState.RELEASED, ReservationState.EXPIRED}
    ),
    ReservationState.PAYING: frozenset(
        {ReservationState.HELD, ReservationState.ORDERED, ReservationState.EXPIRED}
    ),
    ReservationState.ORDERED: frozenset(),
    ReservationState.RELEASED: frozenset(),
    # The money for it was set aside too late, and its seats were still free.
    ReservationState.EXPIRED: frozenset({ReservationState.PAYING}),
}

ORDER_MOVES: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    OrderState.INTENT: frozenset({OrderState.PENDING, OrderState.FAILED}),
    OrderState.PENDING: frozenset({OrderState.CONFIRMED, OrderState.CANCELLED, OrderState.FAILED}),
    OrderState.CONFIRMED: frozenset({OrderState.CANCELLED}),
    OrderState.CANCELLED: frozenset(),
    OrderState.FAILED: frozenset(),
}

PAYMENT_MOVES: Final[Mapping[PaymentState, frozenset[PaymentState]]] = {
    PaymentState.STARTED: frozenset(
        {PaymentState.REQUIRES_ACTION, PaymentState.AUTHORIZED, PaymentState.FAILED, PaymentState.VOIDED}
    ),
    # To REFUND_PENDING: the gateway has taken the money although nobody asked it to.
    PaymentState.REQUIRES_ACTION: frozenset(
        {PaymentState.AUTHORIZED, PaymentState.REFUND_PENDING, PaymentState.FAILED, PaymentState.VOIDED}
    ),
    PaymentState.AUTHORIZED: frozenset(
        {PaymentState.CAPTURED, PaymentState.REFUND_PENDING, PaymentState.VOIDED, PaymentState.FAILED}
    ),
    PaymentState.CAPTURED: frozenset({PaymentState.REFUND_PENDING}),
    PaymentState.REFUND_PENDING: frozenset({PaymentState.REFUNDED, PaymentState.VOIDED}),
    PaymentState.VOIDED: frozenset(),
    PaymentState.REFUNDED: frozenset(),
    PaymentState.FAILED: frozenset(),
}

REFUND_MOVES: Final[Mapping[RefundState, frozenset[RefundState]]] = {
    RefundState.ASKED: frozenset({RefundState.DONE, RefundState.REFUSED}),
    RefundState.DONE: frozenset(),
    RefundState.REFUSED: frozenset(),
}

DISPUTE_MOVES: Final[Mapping[DisputeState, frozenset[DisputeState]]] = {
    # Whoever asks seldom may find that it was decided meanwhile.
    DisputeState.INQUIRY: frozenset(
        {DisputeState.CLOSED, DisputeState.OPEN, DisputeState.WON, DisputeState.LOST}
    ),
    DisputeState.CLOSED: frozenset({DisputeState.OPEN, DisputeState.WON, DisputeState.LOST}),
    DisputeState.OPEN: frozenset({DisputeState.WON, DisputeState.LOST}),
    DisputeState.WON: frozenset(),
    # A bank may think better of it.
    DisputeState.LOST: frozenset({DisputeState.WON}),
}

TICKET_MOVES: Final[Mapping[TicketState, frozenset[TicketState]]] = {
    TicketState.ACTIVE: frozenset({TicketState.TRANSFER_PENDING, TicketState.USED, TicketState.VOID}),
    TicketState.TRANSFER_PENDING: frozenset(
        {TicketState.ACTIVE, TicketState.TRANSFERRED, TicketState.USED, TicketState.VOID}
    ),
    TicketState.TRANSFERRED: frozenset(),
    # An operator may refund even a ticket that was used.
    TicketState.USED: frozenset({TicketState.VOID}),
    # The dispute that it was voided for was won.
    TicketState.VOID: frozenset({TicketState.ACTIVE}),
}

TRANSFER_MOVES: Final[Mapping[TransferState, frozenset[TransferState]]] = {
    TransferState.PENDING: frozenset(
        {
            TransferState.ACCEPTED,
            TransferState.DECLINED,
            TransferState.CANCELLED,
            TransferState.EXPIRED,
        }
    ),
    TransferState.ACCEPTED: frozenset(),
    TransferState.DECLINED: frozenset(),
    TransferState.CANCELLED: frozenset(),
    TransferState.EXPIRED: frozenset(),
}

LIVE_ENTRY_STATES: Final = frozenset(
    {EntryState.LOBBY, EntryState.QUEUED, EntryState.READY, EntryState.SHOPPING}
)
LIVE_RESERVATION_STATES: Final = frozenset({ReservationState.HELD, ReservationState.PAYING})


def check_move(moves: Mapping[S, frozenset[S]], before: S, after: S) -> S:
    """``after``, if the table allows the move from ``before``; else IllegalMove."""
    if after not in moves[before]:
        raise IllegalMove(f"{type(before).__name__}: {before.name} -> {after.name}")
    return after
