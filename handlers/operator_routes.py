"""The operator's lines of the table of endpoints, which ``handlers.routes`` holds with all others."""

from __future__ import annotations

from functools import partial
from typing import Final

from handlers.endpoint import OPERATING, BodyEncoding, Door, Endpoint
from handlers.operator_events import (
    block_event_seats,
    cancel_operator_event,
    delete_operator_event,
    get_operator_event,
    import_event,
    list_operator_events,
    put_operator_event,
    unblock_event_seats,
)
from handlers.operator_keys import create_api_key, create_user_token, list_keys, revoke_key, rotate_key
from handlers.operator_ledger import list_ledger, reconcile_order, reconcile_payments
from handlers.operator_records import get_stats, list_audit, list_operator_orders
from handlers.operator_rooms import set_event_room
from handlers.wire.common import PageQuery
from handlers.wire.ledger import (
    LedgerPage,
    LedgerQuery,
    ReconcileOrderQuery,
    ReconcilePage,
    ReconcileQuery,
)
from handlers.wire.operator import (
    AuditList,
    CreateKey,
    EventCancelledAnswer,
    EventPutAnswer,
    KeyCreated,
    KeyList,
    OperatorEventList,
    OperatorOrderList,
    OperatorOrdersQuery,
    RoomAnswer,
    SeatsAnswer,
    SeatsBody,
    SetRoomBody,
    SigningKeyRotated,
    StatsAnswer,
)
from handlers.wire.sessions import CreateSession, SessionAnswer
from ticketd.errors import ErrorCode
from ticketd.rate_limits.classes import RateClass

_line = partial(Endpoint, part="operator", credential=OPERATING, rate=RateClass.OPERATOR, door=Door.OPERATOR)

OPERATOR_ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    _line(
        method="GET",
        path="/v1/operator/events",
        function=list_operator_events,
        summary="List all events, by date",
        query=PageQuery,
        answer=OperatorEventList,
    ),
    _line(
        method="POST",
        path="/v1/operator/events",
        function=import_event,
        summary="Import an event file, whose event's id may be left to be derived",
        answer=EventPutAnswer,
        status=201,
        encoding=BodyEncoding.RAW,
        large=True,
        idempotent=True,
        errors=(ErrorCode.SEATS_TAKEN,),
    ),
    _line(
        method="PUT",
        path="/v1/operator/events/{event_id}",
        function=put_operator_event,
        summary="Put an event: a new one (201), or another file for one that there is (200)",
        answer=EventPutAnswer,
        status=201,
        encoding=BodyEncoding.RAW,
        large=True,
        errors=(ErrorCode.EVENT_NOT_FOUND, ErrorCode.SEATS_TAKEN),
    ),
    _line(
        method="GET",
        path="/v1/operator/events/{event_id}",
        function=get_operator_event,
        summary="Get an event as the file that was imported last",
        errors=(ErrorCode.EVENT_NOT_FOUND,),
    ),
    _line(
        method="DELETE",
        path="/v1/operator/events/{event_id}",
        function=delete_operator_event,
        summary="Delete an event of which nothing was ever sold",
        status=204,
        idempotent=True,
        errors=(ErrorCode.EVENT_NOT_FOUND, ErrorCode.ORDER_EXISTS, ErrorCode.SEATS_TAKEN),
    ),
    _line(
        method="POST",
        path="/v1/operator/events/{event_id}/cancel",
        function=cancel_operator_event,
        summary="Cancel an event: nothing more of it is sold, orders stay as they are",
        answer=EventCancelledAnswer,
        idempotent=True,
        errors=(ErrorCode.EVENT_NOT_FOUND,),
    ),
    _line(
        method="POST",
        path="/v1/operator/events/{event_id}/block",
        function=block_event_seats,
        summary="Take seats off the sale",
        body=SeatsBody,
        answer=SeatsAnswer,
        large=True,
        idempotent=True,
        errors=(
            ErrorCode.EVENT_NOT_FOUND,
            ErrorCode.SEAT_NOT_FOUND,
            ErrorCode.SEATS_UNAVAILABLE,
            ErrorCode.SEATS_TAKEN,
        ),
    ),
    _line(
        method="POST",
        path="/v1/operator/events/{event_id}/unblock",
        function=unblock_event_seats,
        summary="Put blocked seats back on sale",
        body=SeatsBody,
        answer=SeatsAnswer,
        large=True,
        idempotent=True,
        errors=(ErrorCode.EVENT_NOT_FOUND, ErrorCode.SEAT_NOT_FOUND),
    ),
    _line(
        method="POST",
        path="/v1/operator/rooms/{event_id}",
        function=set_event_room,
        summary="Pause or resume a waiting room, or change how many it lets in",
        body=SetRoomBody,
        answer=RoomAnswer,
        idempotent=True,
        errors=(ErrorCode.EVENT_NOT_FOUND,),
    ),
    _line(
        method="GET",
        path="/v1/operator/orders",
        function=list_operator_orders,
        summary="List orders, newest first",
        query=OperatorOrdersQuery,
        answer=OperatorOrderList,
        errors=(ErrorCode.EVENT_NOT_FOUND,),
    ),
    _line(
        method="GET",
        path="/v1/operator/ledger",
        function=list_ledger,
        summary="List the movements of an event's money, oldest first",
        query=LedgerQuery,
        answer=LedgerPage,
        errors=(ErrorCode.EVENT_NOT_FOUND,),
    ),
    _line(
        method="GET",
        path="/v1/operator/reconcile",
        function=reconcile_payments,
        summary="Hold the gateway's payments against the ledger, a page at a time",
        query=ReconcileQuery,
        answer=ReconcilePage,
        errors=(ErrorCode.EVENT_NOT_FOUND, ErrorCode.PAYMENT_UNAVAILABLE),
    ),
    _line(
        method="GET",
        path="/v1/operator/reconcile/{order_id}",
        function=reconcile_order,
        summary="Hold one order against its payment at the gateway",
        query=ReconcileOrderQuery,
        answer=ReconcilePage,
        errors=(ErrorCode.ORDER_NOT_FOUND, ErrorCode.PAYMENT_UNAVAILABLE),
    ),
    _line(
        method="GET",
        path="/v1/operator/audit",
        function=list_audit,
        summary="List what operators did, newest first",
        query=PageQuery,
        answer=AuditList,
    ),
    _line(
        method="GET",
        path="/v1/operator/stats",
        function=get_stats,
        summary="Get the daemon's figures and those of each event",
        answer=StatsAnswer,
    ),
    _line(
        method="POST",
        path="/v1/operator/keys",
        function=create_api_key,
        summary="Create an API key; its text is told this once",
        body=CreateKey,
        answer=KeyCreated,
        status=201,
    ),
    _line(
        method="GET",
        path="/v1/operator/keys",
        function=list_keys,
        summary="List API keys, oldest first",
        query=PageQuery,
        answer=KeyList,
    ),
    _line(
        method="DELETE",
        path="/v1/operator/keys/{key_id}",
        function=revoke_key,
        summary="Revoke an API key, at once and for good",
        status=204,
        idempotent=True,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    _line(
        method="POST",
        path="/v1/operator/signing-keys/{kind}/rotate",
        function=rotate_key,
        summary="Put a fresh signing key in force: user, queue, access, ticket or link",
        answer=SigningKeyRotated,
        status=201,
        idempotent=True,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    _line(
        method="POST",
        path="/v1/operator/tokens",
        function=create_user_token,
        summary="Get a user token for a buyer, for support and tests",
        body=CreateSession,
        answer=SessionAnswer,
        status=201,
    ),
)
"""Every change is one commit with one audit record in it."""
