"""Sales at a till: whoever stands there pays at once, in cash or at a card terminal, so all is one commit: the seats go
from free to sold, the order is CONFIRMED, its tickets are there, and the ledger has the money.

No gateway is ever asked about such an order: it is at rest from the start, and money is given back where it was taken.
The waiting room and the purchase limit are for those who buy by themselves; they do not apply.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

import msgspec

from storage.engine import Reader, Transaction
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    PaymentMethodId,
    RefundId,
    ReservationId,
    SeatNumber,
    SectionId,
    TicketId,
    TierId,
    UserId,
)
from storage.schema.layout import (
    BUYER_ORDERS,
    EVENT_OF_ORDER,
    ORDERS,
    RECEIPTS,
    SYSTEM,
    buyer_partition,
    event_partition,
)
from storage.schema.movements import BOX_OFFICE, MovementKind
from storage.schema.records import AddressRecord, OrderRecord, ReservationRecord, SaleRecord
from storage.schema.states import OrderState, PaymentState, SeatState
from ticketd.domain.checkout import OrderStep
from ticketd.domain.hold_book import begin_hold, purchases_of
from ticketd.domain.ledger import Movement, read_balance, record_movement
from ticketd.domain.order_book import load_order, save_order, trail_line
from ticketd.domain.refunds import AskRefund, RefundMade, ask_refund, record_refund_made
from ticketd.domain.reservations import freeze_reservation, sell_reservation
from ticketd.domain.sales import SalePhase, load_sale, sale_ends_ms, sale_opens_ms
from ticketd.domain.seat_choice import (
    Holder,
    choose_best,
    find_tier,
    new_hold,
    not_free,
    require_so_many_free,
    sections_to_search,
)
from ticketd.domain.seats import SeatBook
from ticketd.domain.settlement import record_refunded
from ticketd.domain.tickets import IssueTickets, issue_tickets
from ticketd.domain.times import rfc3339
from ticketd.errors import ErrorCode, Refusal

RECEIPT_USED: Final = "This receipt has its order already."

_NOBODY: Final = UUID(int=0)
"""Stands for what an order of a till has not got: a place in the room, a card on file."""
_NO_ADDRESS: Final = AddressRecord(street="", city="", postal_code="", country="")
_TILL_USER: Final = b"ticketd user of a till 1\x00"


class SellAtTill(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has paid ``receipt`` by ``method`` (CASH, CARD_TERMINAL) at the till whose key is ``key_id``.

    They get ``seats``, these very ones, each once; or, if that is None, the best that stand together, of the section
    and the tier if one is named. ``ticket_ids``, new ones, has one for each seat that is wanted, so it says how many.
    ``seed`` is 32 random bytes, ``kid`` names the key that signs the tickets' codes.
    """

    event_id: EventId
    order_id: OrderId
    reservation_id: ReservationId
    user_id: UserId
    key_id: str
    method: str
    receipt: str
    seats: tuple[SeatNumber, ...] | None = None
    section_id: SectionId | None = None
    tier_id: TierId | None = None
    delivery_method: str
    ticket_ids: tuple[TicketId, ...]
    seed: bytes
    kid: str
    session_id: str = ""


class RefundAtTill(msgspec.Struct, frozen=True, kw_only=True):
    """The till whose key is ``key_id`` gives money back against ``receipt``: that of ``ticket_ids``, or, if they are
    None, that of the whole order. ``refund_id`` is new."""

    event_id: EventId
    order_id: OrderId
    refund_id: RefundId
    key_id: str
    receipt: str
    ticket_ids: tuple[TicketId, ...] | None = None


def till_user(secret_hash: bytes) -> UserId:
    """Whose the orders of a till are that name no buyer: one user for each API key, by the hash of its secret, so that
    nobody who knows the key's id can speak for it."""
    return UserId(UUID(bytes=hashlib.sha256(_TILL_USER + secret_hash).digest()[:16], version=4))


def sell_at_till(tx: Transaction, command: SellAtTill) -> OrderRecord:
    """Sells seats that were paid for, all or none; the order is CONFIRMED and has its tickets.

    Touches the partitions of the event, of the buyer and of the system. Seats are sold from the opening of the sale, or
    of its presale, until the event begins; where the sale's own end is later, until then.

    Refuses in this order: EVENT_NOT_FOUND; SEAT_NOT_FOUND with ``seat_ids``, ``section_id`` or ``tier_id``; SALE_ENDED
    with ``reason`` CANCELLED or ENDED; SALE_NOT_OPEN with ``opens_at``; ORDER_EXISTS with ``order_id`` if this till
    sold something of the event against this receipt before; then as ``reserve_seats`` and ``reserve_best`` do:
    SEATS_UNAVAILABLE and SEATS_TAKEN; SEATS_UNAVAILABLE and NO_ADJACENT_SEATS.
    """
    sale = load_sale(tx, command.event_id)
    book = SeatBook(tx, command.event_id)
    tier = find_tier(sale, command.tier_id)
    sections: tuple[int, ...] = ()
    if command.seats is None:
        sections = sections_to_search(tx, command.event_id, command.section_id)
    else:
        book.find(command.seats)
    _require_selling(sale, tx.now_ms)
    partition, receipt = event_partition(command.event_id), (command.key_id, command.method, command.receipt)
    if (first := RECEIPTS.get(tx, partition, *receipt)) is not None:
        raise Refusal(ErrorCode.ORDER_EXISTS, RECEIPT_USED, details={"order_id": str(first)})
    if command.seats is not None:
        seats = _require_free(book, command.seats)
    else:
        quantity = len(command.ticket_ids)
        seats = choose_best(book, quantity, require_so_many_free(tx, book, quantity, sections, tier), tier)
    hold = _sell_seats(tx, sale, book, command, seats)
    RECEIPTS.put(tx, command.order_id, partition, *receipt)
    return _write_order(tx, sale, command, hold)


def refund_at_till(tx: Transaction, command: RefundAtTill) -> OrderRecord:
    """Records that money of a till's order was given back: its seats are on sale again, its tickets are dead. With the
    last of its tickets the order is CANCELLED.

    How much: what was paid for the seats, less their fees where the event keeps them and was not cancelled. Until when
    is for whoever stands at the till to say.

    Refuses in this order: ORDER_NOT_FOUND, also for what no till sold; ORDER_EXISTS with ``order_id`` if money of this
    order went back against this receipt before; then as ``ask_refund``.
    """
    event_id, order_id = command.event_id, command.order_id
    order = find_till_order(tx, event_id, order_id)
    if order.state is OrderState.CONFIRMED and command.receipt in _refund_receipts(tx, command):
        raise Refusal(ErrorCode.ORDER_EXISTS, RECEIPT_USED, details={"order_id": str(order_id)})
    refund = ask_refund(
        tx,
        AskRefund(
            event_id=event_id,
            order_id=order_id,
            refund_id=command.refund_id,
            ticket_ids=command.ticket_ids,
            # Of an event that does not take place everybody has their money back.
            even_used=order.owed_at_till,
            till=command.key_id,
        ),
    )
    if refund.closes:
        owing = load_order(tx, event_id, order_id)
        due_minor = owing.refund_minor - read_balance(tx, event_id, order_id).refunded_minor
        moved = [(command.receipt, due_minor)] if due_minor else []
        return record_refunded(tx, OrderStep(event_id=event_id, order_id=order_id), moved)
    made = RefundMade(
        event_id=event_id,
        order_id=order_id,
        refund_id=command.refund_id,
        refund_ref=command.receipt,
        amount_minor=refund.amount_minor,
    )
    return record_refund_made(tx, made)


def _refund_receipts(reader: Reader, command: RefundAtTill) -> frozenset[str]:
    return read_balance(reader, command.event_id, command.order_id).refund_refs


def find_till_order(reader: Reader, event_id: EventId, order_id: OrderId) -> OrderRecord:
    """An order that a till sold. Refuses ORDER_NOT_FOUND, also for one that was paid otherwise."""
    order = ORDERS.get(reader, event_partition(event_id), order_id)
    if order is None or order.gateway != BOX_OFFICE:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    return order


def till_sale_ends_ms(sale: SaleRecord) -> int:
    """When tills end to sell: as the event begins, or at the sale's own end if that is later."""
    return max(sale.date_ms, sale_ends_ms(sale))


def _require_selling(sale: SaleRecord, now_ms: int) -> None:
    if sale.cancelled:
        raise Refusal(ErrorCode.SALE_ENDED, details={"reason": SalePhase.CANCELLED.value})
    if now_ms >= till_sale_ends_ms(sale):
        raise Refusal(ErrorCode.SALE_ENDED, details={"reason": SalePhase.ENDED.value})
    if now_ms < sale_opens_ms(sale):
        raise Refusal(ErrorCode.SALE_NOT_OPEN, details={"opens_at": rfc3339(sale_opens_ms(sale))})


def _require_free(book: SeatBook, seats: tuple[SeatNumber, ...]) -> tuple[SeatNumber, ...]:
    if {row.states[position] for row, position in book.find(seats)} != {SeatState.AVAILABLE}:
        raise not_free(book, seats)
    return seats


def _sell_seats(
    tx: Transaction, sale: SaleRecord, book: SeatBook, command: SellAtTill, seats: tuple[SeatNumber, ...]
) -> ReservationRecord:
    """Takes free seats through the states of any sale: held, under payment, sold."""
    holder = Holder(user_id=command.user_id, entry_id=EntryId(_NOBODY), reservation_id=command.reservation_id)
    hold = new_hold(tx, sale, book, holder, seats)
    begin_hold(tx, book, hold, purchases_of(tx, book.partition, command.user_id))
    freeze_reservation(
        tx, command.event_id, command.user_id, hold.reservation_id, command.order_id, hold.due_at_ms
    )
    return sell_reservation(tx, command.event_id, hold.reservation_id)


def _write_order(
    tx: Transaction, sale: SaleRecord, command: SellAtTill, hold: ReservationRecord
) -> OrderRecord:
    issued = issue_tickets(
        tx,
        IssueTickets(
            event_id=command.event_id,
            order_id=command.order_id,
            user_id=command.user_id,
            seats=hold.seats,
            ticket_ids=command.ticket_ids,
            seed=command.seed,
            kid=command.kid,
        ),
    )
    order = OrderRecord(
        order_id=command.order_id,
        user_id=command.user_id,
        reservation_id=command.reservation_id,
        entry_id=hold.entry_id,
        state=OrderState.CONFIRMED,
        payment_state=PaymentState.CAPTURED,
        seats=hold.seats,
        subtotal_minor=hold.subtotal_minor,
        fees_minor=hold.fees_minor,
        taxes_minor=hold.taxes_minor,
        total_minor=hold.subtotal_minor + hold.fees_minor + hold.taxes_minor,
        currency=sale.currency,
        delivery_method=command.delivery_method,
        billing_address=_NO_ADDRESS,
        payment_method_id=PaymentMethodId(_NOBODY),
        gateway=BOX_OFFICE,
        method_ref=command.method,
        payment_ref=f"{command.method}:{command.receipt}",
        return_url="",
        created_at_ms=tx.now_ms,
        confirmed_at_ms=tx.now_ms,
        ticket_ids=issued,
        movements=0,
    )
    taken = Movement(kind=MovementKind.CAPTURED, amount_minor=order.total_minor, movement_ref=command.receipt)
    order = record_movement(tx, command.event_id, order, taken)
    BUYER_ORDERS.put(tx, command.event_id, buyer_partition(order.user_id), order.order_id)
    EVENT_OF_ORDER.put(tx, command.event_id, SYSTEM, order.order_id)
    line = trail_line(tx, f"sold at the till of {command.key_id}", command.session_id)
    return save_order(tx, command.event_id, None, order, line)
