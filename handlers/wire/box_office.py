"""Forms of the box office part: what a till sells, shows again and takes back."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec

from handlers.wire.common import END, AnswerBody, Money, RequestBody, Time
from handlers.wire.orders import DeliveryMethod

MAX_TILL_SEATS: Final = 50
"""So many seats are sold at most at once: the answer, with all their codes, is kept for its repetition."""

TillMethod = Literal["CASH", "CARD_TERMINAL"]
Receipt = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[!-~]([ -~]*[!-~])?" + END,
        description="The number of the receipt: printable ASCII characters, no space at either end",
    ),
]


class TillPayment(RequestBody, frozen=True, kw_only=True):
    """Money that was taken already. A till sells against the same receipt once for each event."""

    method: TillMethod
    receipt: Receipt


class SellAtTillBody(RequestBody, frozen=True, kw_only=True):
    """Seats are sold: either these very seats (``seat_ids``), or the best ``quantity`` that stand together."""

    event_id: UUID
    payment: TillPayment
    seat_ids: (
        Annotated[
            list[UUID],
            msgspec.Meta(min_length=1, max_length=MAX_TILL_SEATS, description="All or none; each once"),
        ]
        | None
    ) = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_TILL_SEATS)] | None = None
    section_id: Annotated[
        UUID | None, msgspec.Meta(description="With quantity: seats of this section alone")
    ] = None
    tier_id: Annotated[UUID | None, msgspec.Meta(description="With quantity: seats of this price alone")] = (
        None
    )
    user_id: Annotated[
        UUID | None,
        msgspec.Meta(description="The buyer, if they are to find the tickets in their account"),
    ] = None
    delivery_method: DeliveryMethod = "PRINT"


class RefundAtTillBody(RequestBody, frozen=True, kw_only=True):
    """Money is given back against ``receipt``: that of ``ticket_ids``, or of the whole sale."""

    receipt: Receipt
    ticket_ids: (
        Annotated[
            list[UUID],
            msgspec.Meta(min_length=1, max_length=MAX_TILL_SEATS, description="These tickets alone"),
        ]
        | None
    ) = None


class TillTicket(AnswerBody, frozen=True, kw_only=True):
    """A ticket that was sold. ``code`` is the text of its QR code, for a printer that draws it; ``qr_code``, the same
    as a base64 PNG, is there where a sale is shown again. All three of code, picture and link are empty for a ticket
    that is void or was transferred."""

    ticket_id: UUID
    seat_id: UUID
    section: str
    row: str
    seat: str
    price: Money
    barcode: str
    code: str
    download_url: str
    status: str
    qr_code: str | msgspec.UnsetType = msgspec.UNSET


class TillPaid(AnswerBody, frozen=True, kw_only=True):
    """How a sale was paid."""

    method: str
    receipt: str


class TillSale(AnswerBody, frozen=True, kw_only=True):
    """A sale of a till. ``status`` is CONFIRMED, or CANCELLED once all of it was given back. ``money_due``: the event
    was cancelled, its tickets are void, and the buyer is to have the money back at the till."""

    order_id: UUID
    event_id: UUID
    status: str
    payment_status: str
    payment: TillPaid
    currency: str
    subtotal: Money
    fees: Money
    taxes: Money
    total: Money
    delivery_method: DeliveryMethod
    tickets: list[TillTicket]
    created_at: Time
    cancelled_at: Time | None = None
    refund_amount: Money | None = None
    money_due: bool = False
