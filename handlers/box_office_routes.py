"""The lines of the table of endpoints for tills. ``handlers.routes`` holds them with all others."""

from __future__ import annotations

from typing import Final

from handlers.box_office import create_till_sale, get_till_sale, refund_till_sale
from handlers.endpoint import SELLING, Endpoint
from handlers.wire.box_office import RefundAtTillBody, SellAtTillBody, TillSale
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass

_PART: Final = "box office"

BOX_OFFICE_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="POST",
        path="/v1/box-office/sales",
        function=create_till_sale,
        part=_PART,
        summary="Sell seats that were paid at a till, with their tickets at once",
        credential=SELLING,
        rate=RateClass.BOX_OFFICE,
        body=SellAtTillBody,
        answer=TillSale,
        status=201,
        errors=(
            ErrorCode.NOT_FOUND,
            ErrorCode.EVENT_NOT_FOUND,
            ErrorCode.SEAT_NOT_FOUND,
            ErrorCode.SALE_ENDED,
            ErrorCode.SALE_NOT_OPEN,
            ErrorCode.ORDER_EXISTS,
            ErrorCode.SEATS_UNAVAILABLE,
            ErrorCode.SEATS_TAKEN,
            ErrorCode.NO_ADJACENT_SEATS,
        ),
        idempotent=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/box-office/sales/{order_id}",
        function=get_till_sale,
        part=_PART,
        summary="Look at a till's sale again, with what its tickets are printed from",
        credential=SELLING,
        rate=RateClass.BOX_OFFICE,
        answer=TillSale,
        errors=(ErrorCode.NOT_FOUND, ErrorCode.ORDER_NOT_FOUND),
    ),
    Endpoint(
        method="POST",
        path="/v1/box-office/sales/{order_id}/refund",
        function=refund_till_sale,
        part=_PART,
        summary="Take a till's sale back, or some of its tickets, the money given back at the till",
        credential=SELLING,
        rate=RateClass.BOX_OFFICE,
        body=RefundAtTillBody,
        answer=TillSale,
        errors=(
            ErrorCode.NOT_FOUND,
            ErrorCode.ORDER_NOT_FOUND,
            ErrorCode.ORDER_NOT_CANCELLABLE,
            ErrorCode.ORDER_ALREADY_CANCELLED,
            ErrorCode.ORDER_EXISTS,
            ErrorCode.TICKET_NOT_FOUND,
        ),
        idempotent=True,
    ),
)
