"""Every error that a caller can be told: its code, its HTTP status, its usual sentence. The only home of errors.

A rule of the sale refuses by raising a ``Refusal`` with one of these codes; ``handlers.errors`` puts it into the error
form. Codes are part of the API: one is added here and in the API document, never renamed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

from storage.engine import Rejected

Detail = str | int | float | bool | None | Sequence["Detail"] | Mapping[str, "Detail"]


class ErrorCode(enum.Enum):
    """All codes, each with its HTTP status and its usual message."""

    status: int
    message: str

    INVALID_REQUEST = 400, "The request cannot be read."
    INVALID_EVENT_ID = 400, "There is no event with this id."
    INVALID_PAYMENT_METHOD = 400, "This payment method cannot be used."
    ORDER_NOT_CANCELLABLE = 400, "This order cannot be cancelled."
    TICKET_NOT_TRANSFERABLE = 400, "This ticket cannot be transferred."
    API_KEY_INVALID = 401, "The API key is missing, unknown or revoked."
    TOKEN_MISSING = 401, "This call needs a token."
    TOKEN_INVALID = 401, "The token is not valid."
    TOKEN_EXPIRED = 401, "The token has expired."
    PAYMENT_DECLINED = 402, "The payment was declined."
    QUEUE_ACCESS_ONLY = 403, "A queue token opens only the queue."
    TOKEN_KIND_NOT_ALLOWED = 403, "This kind of token does not open this call."
    PRESALE_CODE_REQUIRED = 403, "The presale needs a valid presale code."
    DEVICE_MISMATCH = 403, "The device is not the one that joined the queue."
    USER_MISMATCH = 403, "The user is not the one of the token."
    EVENT_MISMATCH = 403, "The token is for another event."
    SALE_NOT_OPEN = 403, "The sale has not opened yet."
    ACCESS_EXPIRED = 403, "The time to shop is over."
    SCOPE_MISSING = 403, "The API key's scope does not allow this call."
    NOT_FOUND = 404, "There is nothing here."
    EVENT_NOT_FOUND = 404, "There is no such event."
    SEAT_NOT_FOUND = 404, "There is no such seat."
    RESERVATION_NOT_FOUND = 404, "There is no such reservation."
    ORDER_NOT_FOUND = 404, "There is no such order."
    TICKET_NOT_FOUND = 404, "There is no such ticket."
    TRANSFER_NOT_FOUND = 404, "There is no such transfer."
    PAYMENT_METHOD_NOT_FOUND = 404, "There is no such payment method."
    METHOD_NOT_ALLOWED = 405, "This method is not allowed here."
    BODY_TOO_LARGE = 413, "The body is too large."
    UNSUPPORTED_MEDIA_TYPE = 415, "The body must be JSON (application/json)."
    ALREADY_IN_QUEUE = 409, "This user is in the queue already."
    DEVICE_ALREADY_IN_QUEUE = 409, "This device is in the queue already."
    SEATS_TAKEN = 409, "Some of the seats are held by somebody else."
    ORDER_EXISTS = 409, "This reservation has its order already."
    ORDER_ALREADY_CANCELLED = 409, "This order was cancelled already."
    TRANSFER_PENDING = 409, "A transfer of this ticket is pending already."
    IDEMPOTENCY_KEY_IN_USE = 409, "A request with this idempotency key is still running."
    SEATS_UNAVAILABLE = 410, "The selected seats are no longer available."
    RESERVATION_EXPIRED = 410, "The reservation has expired."
    QUEUE_ENTRY_EXPIRED = 410, "This place in the queue has ended."
    SALE_ENDED = 410, "The sale has ended."
    TRANSFER_EXPIRED = 410, "This transfer has ended."
    PURCHASE_LIMIT_EXCEEDED = 422, "That is more tickets than one buyer may have."
    NO_ADJACENT_SEATS = 422, "There are not so many free seats side by side."
    IDEMPOTENCY_KEY_REUSED = 422, "This idempotency key was used with another request."
    RATE_LIMITED = 429, "Too many requests."
    INTERNAL_ERROR = 500, "Something went wrong on our side."
    QUEUE_FULL = 503, "The queue is full."
    OVERLOADED = 503, "The server is overloaded."
    PAYMENT_UNAVAILABLE = 503, "Payments cannot be taken at this moment; no money has moved."
    STORAGE_UNAVAILABLE = 503, "The store cannot take changes at this moment."

    def __new__(cls, status: int, message: str) -> ErrorCode:
        member = object.__new__(cls)
        # The value only tells members apart: two codes with the same status and sentence must not become one.
        member._value_ = len(cls.__members__) + 1
        member.status = status
        member.message = message
        return member


DEFAULT_RETRY_AFTER_SECONDS: Final = 5


class Refusal(Rejected):
    """A request is refused: ``code`` says how, ``details`` with what, ``retry_after_seconds`` when to come again.

    ``retry_after_seconds`` is always set for a status of 503.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        details: Mapping[str, Detail] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message or code.message)
        self.code = code
        self.message = message or code.message
        self.details: Mapping[str, Detail] = details or {}
        if retry_after_seconds is None and code.status == 503:
            retry_after_seconds = DEFAULT_RETRY_AFTER_SECONDS
        self.retry_after_seconds = retry_after_seconds
