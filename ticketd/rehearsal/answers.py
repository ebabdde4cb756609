"""What buyers read of the daemon's answers: only the fields that a buyer needs, read strictly in those."""

from __future__ import annotations

from msgspec import Struct


class EventInfo(Struct, frozen=True, kw_only=True):
    """An event, as one looks at it before joining."""

    event_id: str
    name: str
    total_capacity: int
    available_seats: int
    sale_info: SaleInfo


class SaleInfo(Struct, frozen=True, kw_only=True):
    """Where the sale stands."""

    general_sale_start: str
    status: str


class Session(Struct, frozen=True, kw_only=True):
    """A user token."""

    token: str


class Joined(Struct, frozen=True, kw_only=True):
    """A place."""

    queue_token: str
    queue_position: int
    status: str
    poll_interval_seconds: int


class Status(Struct, frozen=True, kw_only=True):
    """How far one is."""

    queue_position: int
    status: str
    access_token: str | None = None
    poll_interval_seconds: int | None = None


class Message(Struct, frozen=True, kw_only=True):
    """A message on the WebSocket: ``subscribed``, ``queue_update`` and others."""

    type: str
    queue_position: int | None = None
    status: str | None = None
    access_token: str | None = None


class MapSeat(Struct, frozen=True, kw_only=True):
    """A seat of the map."""

    seat_id: str
    status: str


class MapRow(Struct, frozen=True, kw_only=True):
    """A row of the map."""

    seats: list[MapSeat]


class MapSection(Struct, frozen=True, kw_only=True):
    """A section of the map."""

    rows: list[MapRow]


class SeatMap(Struct, frozen=True, kw_only=True):
    """The seat map."""

    sections: list[MapSection]


class Held(Struct, frozen=True, kw_only=True):
    """A hold."""

    reservation_id: str
    seat_ids: list[str]


class Card(Struct, frozen=True, kw_only=True):
    """A payment method."""

    payment_method_id: str


class Placed(Struct, frozen=True, kw_only=True):
    """An order just placed."""

    order_id: str
    status: str


class OrderSeat(Struct, frozen=True, kw_only=True):
    """A seat of an order."""

    seat_id: str


class Order(Struct, frozen=True, kw_only=True):
    """An order."""

    order_id: str
    status: str
    seats: list[OrderSeat]


class Ticket(Struct, frozen=True, kw_only=True):
    """A ticket."""

    barcode: str


class Tickets(Struct, frozen=True, kw_only=True):
    """The tickets of an order."""

    tickets: list[Ticket]


class ErrorText(Struct, frozen=True, kw_only=True):
    """What a refusal says."""

    code: str


class ErrorAnswer(Struct, frozen=True, kw_only=True):
    """A refusal."""

    error: ErrorText
