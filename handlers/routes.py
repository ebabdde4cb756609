"""The one table of endpoints: method, path, credential, body, answer, limits, function.

From it alone come the routes, the API document and the tests that walk every endpoint. To add one, write its structs
under ``handlers/wire/``, its function in the file of its part, and its line here.
"""

from __future__ import annotations

from typing import Final

from handlers.endpoint import (
    JOINING,
    OPEN,
    OWNING,
    QUEUEING,
    SHOPPING,
    TRUSTED_SERVER,
    BodyEncoding,
    Endpoint,
    RateClass,
)
from handlers.orders import cancel_own_order, create_order, get_order, list_orders
from handlers.pages import HTML_TYPE
from handlers.payment_methods import create_payment_method, delete_payment_method, get_payment_methods
from handlers.queue import join_queue, leave_queue, queue_status
from handlers.sandbox import answer_challenge, show_challenge
from handlers.sessions import create_session
from handlers.wire.common import PageQuery
from handlers.wire.orders import CreateOrder, OrderCancelled, OrderCreated, OrderDetails, OrderList
from handlers.wire.payment_methods import AddPaymentMethodBody, PaymentMethodAnswer, PaymentMethodList
from handlers.wire.queue import JoinAnswer, JoinQueue, StatusAnswer, StatusQuery
from handlers.wire.sandbox import ChallengeForm
from handlers.wire.sessions import CreateSession, SessionAnswer
from ticketd.errors import ErrorCode

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    # --- sessions ---
    Endpoint(
        method="POST",
        path="/v1/sessions",
        function=create_session,
        part="sessions",
        summary="Get a user token for a buyer that your server vouches for",
        credential=TRUSTED_SERVER,
        rate=RateClass.OTHER,
        body=CreateSession,
        answer=SessionAnswer,
        status=201,
        idempotent=True,
    ),
    # --- queue ---
    Endpoint(
        method="POST",
        path="/v1/queue/join",
        function=join_queue,
        part="queue",
        summary="Join an event's waiting room",
        credential=JOINING,
        rate=RateClass.JOIN,
        body=JoinQueue,
        answer=JoinAnswer,
        errors=(
            ErrorCode.INVALID_EVENT_ID,
            ErrorCode.TOKEN_MISSING,
            ErrorCode.USER_MISMATCH,
            ErrorCode.SALE_NOT_OPEN,
            ErrorCode.PRESALE_CODE_REQUIRED,
            ErrorCode.ALREADY_IN_QUEUE,
            ErrorCode.DEVICE_ALREADY_IN_QUEUE,
            ErrorCode.SALE_ENDED,
            ErrorCode.QUEUE_FULL,
        ),
        idempotent=True,
        hot=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/queue/status",
        function=queue_status,
        part="queue",
        summary="Ask how far one is; once READY, get the access token",
        credential=QUEUEING,
        rate=RateClass.QUEUE_STATUS,
        query=StatusQuery,
        answer=StatusAnswer,
        errors=(ErrorCode.QUEUE_ENTRY_EXPIRED,),
        hot=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/queue/leave",
        function=leave_queue,
        part="queue",
        summary="Give up one's place",
        credential=QUEUEING,
        rate=RateClass.JOIN,
        query=StatusQuery,
        status=204,
        errors=(ErrorCode.QUEUE_ENTRY_EXPIRED,),
        idempotent=True,
    ),
    # --- events ---
    # --- inventory ---
    # --- orders ---
    Endpoint(
        method="POST",
        path="/v1/orders",
        function=create_order,
        part="orders",
        summary="Pay a reservation",
        credential=SHOPPING,
        rate=RateClass.ORDERS,
        body=CreateOrder,
        answer=OrderCreated,
        status=201,
        errors=(
            ErrorCode.INVALID_PAYMENT_METHOD,
            ErrorCode.PAYMENT_DECLINED,
            ErrorCode.RESERVATION_NOT_FOUND,
            ErrorCode.ORDER_EXISTS,
            ErrorCode.RESERVATION_EXPIRED,
            ErrorCode.PAYMENT_UNAVAILABLE,
        ),
        idempotent=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/orders",
        function=list_orders,
        part="orders",
        summary="List one's orders, newest first",
        credential=OWNING,
        rate=RateClass.ORDERS,
        query=PageQuery,
        answer=OrderList,
    ),
    Endpoint(
        method="GET",
        path="/v1/orders/{order_id}",
        function=get_order,
        part="orders",
        summary="Look at one of one's orders, with its tickets",
        credential=OWNING,
        rate=RateClass.ORDERS,
        answer=OrderDetails,
        errors=(ErrorCode.ORDER_NOT_FOUND, ErrorCode.EVENT_MISMATCH),
    ),
    Endpoint(
        method="POST",
        path="/v1/orders/{order_id}/cancel",
        function=cancel_own_order,
        part="orders",
        summary="Cancel an order and have the money back",
        credential=OWNING,
        rate=RateClass.ORDERS,
        answer=OrderCancelled,
        errors=(
            ErrorCode.ORDER_NOT_FOUND,
            ErrorCode.EVENT_MISMATCH,
            ErrorCode.ORDER_NOT_CANCELLABLE,
            ErrorCode.ORDER_ALREADY_CANCELLED,
        ),
        idempotent=True,
    ),
    # --- payment methods ---
    Endpoint(
        method="POST",
        path="/v1/payment-methods",
        function=create_payment_method,
        part="payment methods",
        summary="Add a card",
        credential=OWNING,
        rate=RateClass.ORDERS,
        body=AddPaymentMethodBody,
        answer=PaymentMethodAnswer,
        status=201,
        errors=(ErrorCode.INVALID_PAYMENT_METHOD, ErrorCode.PAYMENT_UNAVAILABLE),
        idempotent=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/payment-methods",
        function=get_payment_methods,
        part="payment methods",
        summary="List one's cards",
        credential=OWNING,
        rate=RateClass.ORDERS,
        query=PageQuery,
        answer=PaymentMethodList,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/payment-methods/{payment_method_id}",
        function=delete_payment_method,
        part="payment methods",
        summary="Forget a card",
        credential=OWNING,
        rate=RateClass.ORDERS,
        status=204,
        errors=(ErrorCode.PAYMENT_METHOD_NOT_FOUND,),
        idempotent=True,
    ),
    Endpoint(
        method="GET",
        path="/sandbox/payments/{payment_ref}",
        function=show_challenge,
        part="sandbox",
        summary="The page on which a buyer confirms a sandbox payment",
        credential=OPEN,
        rate=RateClass.OTHER,
        media_type=HTML_TYPE,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    Endpoint(
        method="POST",
        path="/sandbox/payments/{payment_ref}",
        function=answer_challenge,
        part="sandbox",
        summary="Confirm or refuse a sandbox payment",
        credential=OPEN,
        rate=RateClass.OTHER,
        body=ChallengeForm,
        encoding=BodyEncoding.FORM,
        media_type=HTML_TYPE,
        errors=(ErrorCode.NOT_FOUND,),
    ),
    # --- tickets ---
    # --- transfers ---
    # --- the daemon's own face ---
    # --- operator ---
)
