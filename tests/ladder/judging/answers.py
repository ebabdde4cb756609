"""What was answered: errors always in form and without inner detail, same key same bytes, places that only get nearer,
and promises that the store keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from storage.engine import Reader
from storage.schema.ids import (
    EntryId,
    EventId,
    OrderId,
    PaymentMethodId,
    ReservationId,
    TicketId,
    TransferId,
    UserId,
)
from storage.schema.layout import (
    ENTRIES,
    EVENT_OF_ORDER,
    EVENT_OF_TRANSFER,
    ORDERS,
    PAYMENT_METHODS,
    RESERVATIONS,
    SYSTEM,
    TICKETS,
    TRANSFERS,
    buyer_partition,
    event_partition,
    list_events,
)
from storage.schema.states import OrderState, TransferState
from storage.verify.problem import Problem

_CODES: Final[Mapping[int, str]] = {
    400: "INVALID_REQUEST INVALID_EVENT_ID INVALID_PAYMENT_METHOD ORDER_NOT_CANCELLABLE TICKET_NOT_TRANSFERABLE",
    401: "API_KEY_INVALID TOKEN_MISSING TOKEN_INVALID TOKEN_EXPIRED",
    402: "PAYMENT_DECLINED",
    403: "QUEUE_ACCESS_ONLY TOKEN_KIND_NOT_ALLOWED PRESALE_CODE_REQUIRED DEVICE_MISMATCH USER_MISMATCH EVENT_MISMATCH "
    "SALE_NOT_OPEN ACCESS_EXPIRED SCOPE_MISSING",
    404: "NOT_FOUND EVENT_NOT_FOUND SEAT_NOT_FOUND RESERVATION_NOT_FOUND ORDER_NOT_FOUND TICKET_NOT_FOUND "
    "TRANSFER_NOT_FOUND PAYMENT_METHOD_NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "ALREADY_IN_QUEUE DEVICE_ALREADY_IN_QUEUE SEATS_TAKEN ORDER_EXISTS ORDER_ALREADY_CANCELLED TRANSFER_PENDING "
    "IDEMPOTENCY_KEY_IN_USE",
    410: "SEATS_UNAVAILABLE RESERVATION_EXPIRED QUEUE_ENTRY_EXPIRED SALE_ENDED TRANSFER_EXPIRED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "PURCHASE_LIMIT_EXCEEDED NO_ADJACENT_SEATS IDEMPOTENCY_KEY_REUSED",
    429: "RATE_LIMITED",
    503: "QUEUE_FULL OVERLOADED PAYMENT_UNAVAILABLE STORAGE_UNAVAILABLE",
}
CODES: Final[Mapping[int, frozenset[str]]] = {
    status: frozenset(codes.split()) for status, codes in _CODES.items()
}
"""The errors that a caller may ever be told, by status, as the API has them. 500 is none of them: it is a fault."""

_INNER: Final = re.compile(
    r"Traceback|\.py\b|[A-Z][a-zA-Z]+(?:Error|Exception)\b|lmdb|sqlite|0x[0-9a-f]{6,}| object at |site-packages"
)
_ERROR_FIELDS: Final = {"code", "message", "details", "request_id", "timestamp"}
_RETRIED: Final = frozenset({429, 503})


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer. ``path`` without its query; ``caller`` is whoever asks, in any words that are the
    same for the same one (``user:ID`` for a buyer with a token); header names in lower case; ``key`` is the
    Idempotency-Key. ``event`` is the id of the event that it is about, where that is known; ``place`` tells the places
    in line of one caller apart."""

    method: str
    path: str
    caller: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: bytes = b""
    key: str | None = None
    event: str = ""
    place: str = ""


class _Promise(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an answer said is so for good."""

    kind: str
    what: UUID
    of: UUID | None = None
    seats: int = 0
    event: str = ""


class AnswerJudge:
    """Watches answers, in the order in which they came."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str, str], tuple[bytes, str, int, bytes]] = {}
        self._places: dict[tuple[str, str], int] = {}
        self._promises: dict[tuple[str, UUID], _Promise] = {}
        self._forgotten: set[UUID] = set()
        self._deleted: set[str] = set()

    @property
    def promises(self) -> int:
        """How many things were promised that the store must keep."""
        return len(self._promises)

    def take(self, answered: Answered) -> Iterator[Problem]:
        """One answer."""
        where = f"{answered.method} {answered.path}"
        found: Any = None
        if answered.body and "json" in answered.headers.get("content-type", ""):
            try:
                found = msgspec.json.decode(answered.body)
            except msgspec.DecodeError:
                yield Problem(
                    invariant="answer-in-form", where=where, text=f"no JSON: {answered.body[:200]!r}"
                )
        if answered.status >= 400:
            yield from self._check_error(where, answered, found)
        if answered.key is not None and answered.status < 500 and answered.status != 429:
            yield from self._check_repetition(where, answered, answered.key, found)
        if answered.status == 200 and isinstance(found, dict):
            yield from self._check_place(where, answered, found)
        if 200 <= answered.status < 300:
            self._note(answered, found)

    def check_kept(self, reader: Reader) -> Iterator[Problem]:
        """Whatever was acknowledged is in the store."""
        events = list_events(reader)
        for promise in self._promises.values():
            if not _KEPT[promise.kind](reader, events, promise):
                where, text = (
                    f"{promise.kind} {promise.what}",
                    "was acknowledged, and the store does not have it",
                )
                yield Problem(invariant="acknowledged-survives", where=where, text=text)

    def _check_error(self, where: str, answered: Answered, found: Any) -> Iterator[Problem]:
        error = found.get("error") if isinstance(found, dict) else None
        if (
            not isinstance(error, dict)
            or set(error) != _ERROR_FIELDS
            or not isinstance(error["details"], dict)
        ):
            text = f"{answered.status} {answered.body[:200]!r}"
            yield Problem(invariant="error-in-form", where=where, text=text)
            return
        if error["code"] not in CODES.get(answered.status, frozenset()):
            text = f"{answered.status} with {error['code']}: {error['message']}"
            yield Problem(invariant="error-is-known", where=where, text=text)
        replayed = "idempotency-replayed" in answered.headers
        if not replayed and error["request_id"] != answered.headers.get("x-request-id"):
            yield Problem(invariant="error-names-request", where=where, text="the request ids differ")
        if answered.status in _RETRIED and not answered.headers.get("retry-after", "").isdigit():
            yield Problem(
                invariant="error-says-when", where=where, text=f"{answered.status} without Retry-After"
            )
        if inner := _INNER.search(answered.body.decode(errors="replace")):
            yield Problem(invariant="error-without-inner-detail", where=where, text=repr(inner.group()))

    def _check_repetition(self, where: str, answered: Answered, key: str, found: Any) -> Iterator[Problem]:
        code = found["error"]["code"] if answered.status >= 400 and _is_error(found) else ""
        if code in {"IDEMPOTENCY_KEY_IN_USE", "IDEMPOTENCY_KEY_REUSED"} or code in _BEFORE_THE_KEY:
            return
        name = (answered.caller, answered.method, key)
        outcome = (answered.sent, answered.path, answered.status, answered.body)
        first = self._outcomes.setdefault(name, outcome)
        if first[:2] == outcome[:2] and first != outcome:
            text = f"{key} was answered {first[2]} {first[3][:200]!r}, then {outcome[2]} {outcome[3][:200]!r}"
            yield Problem(invariant="same-key-same-bytes", where=where, text=text)
        if first[:2] != outcome[:2]:
            text = f"{key} of another request was answered {answered.status}"
            yield Problem(invariant="key-is-of-one-request", where=where, text=text)

    def _check_place(self, where: str, answered: Answered, found: dict[str, Any]) -> Iterator[Problem]:
        """A place in line only gets nearer."""
        if answered.path != "/v1/queue/status" or found.get("status") != "QUEUED":
            return
        position, place = found["queue_position"], (answered.caller, answered.place)
        before = self._places.get(place)
        if before is not None and position > before:
            text = f"{answered.caller} stood at {before}, then at {position}"
            yield Problem(invariant="nobody-overtakes", where=where, text=text)
        if position < 1:
            yield Problem(invariant="position-counts-from-1", where=where, text=f"QUEUED at {position}")
        self._places[place] = position

    def _note(self, answered: Answered, found: Any) -> None:
        """What the answer promises."""
        event = answered.event
        match answered.method, answered.path.strip("/").split("/")[1:]:
            case "POST", ["queue", "join"]:
                self._promise("entry", found["entry_id"], event=event)
            case "POST", ["seats", "reserve"]:
                self._promise("hold", found["reservation_id"], seats=len(found["seats"]), event=event)
            case "POST", ["orders"]:
                self._promise("order", found["order_id"])
            case "POST", ["orders", order_id, "cancel"]:
                self._promise("cancelled order", order_id)
            case "POST", ["payment-methods"] if answered.caller.startswith("user:"):
                self._promise("card", found["payment_method_id"], of=answered.caller.removeprefix("user:"))
            case "POST", ["tickets", _, "transfer"]:
                self._promise("transfer", found["transfer_id"])
            case "POST", ["transfers", transfer_id, "accept"]:
                self._promise("accepted transfer", transfer_id)
                self._promise("ticket", found["ticket_id"])
            case _:
                self.release(answered.method, answered.path)

    def release(self, method: str, path: str) -> None:
        """A request was made, answered or not, that may have ended what was promised."""
        match method, path.strip("/").split("/")[1:]:
            case "DELETE", ["payment-methods", method_id]:
                self._promises.pop(("card", UUID(method_id)), None)
                # The repetition of an answer that came before promises nothing again.
                self._forgotten.add(UUID(method_id))
            case "DELETE", ["operator", "events", event_id]:
                # For good: an answer of before may come after this one, and the event again under the same id.
                self._deleted.add(event_id)
                kept = {name: each for name, each in self._promises.items() if each.event != event_id}
                self._promises = kept
            case _:
                pass

    def _promise(
        self, kind: str, what: str, *, of: str | None = None, seats: int = 0, event: str = ""
    ) -> None:
        if UUID(what) in self._forgotten or event in self._deleted:
            return
        self._promises[kind, UUID(what)] = _Promise(
            kind=kind, what=UUID(what), of=None if of is None else UUID(of), seats=seats, event=event
        )


_BEFORE_THE_KEY: Final = (CODES[401] | CODES[405] | CODES[429]) | {
    "DEVICE_MISMATCH",
    "QUEUE_ACCESS_ONLY",
    "SCOPE_MISSING",
    "TOKEN_KIND_NOT_ALLOWED",
}
"""Refusals of who calls, which come before the key is looked at: nothing is kept for them."""


def _is_error(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("error"), dict)


def _has_entry(reader: Reader, events: list[EventId], promise: _Promise) -> bool:
    return any(ENTRIES.get(reader, event_partition(event), EntryId(promise.what)) for event in events)


def _has_hold(reader: Reader, events: list[EventId], promise: _Promise) -> bool:
    holds = (
        RESERVATIONS.get(reader, event_partition(event), ReservationId(promise.what)) for event in events
    )
    return any(hold is not None and len(hold.seats) == promise.seats for hold in holds)


def _order_state(reader: Reader, promise: _Promise) -> OrderState | None:
    event_id = EVENT_OF_ORDER.get(reader, SYSTEM, promise.what)
    order = None if event_id is None else ORDERS.get(reader, event_partition(event_id), OrderId(promise.what))
    return None if order is None else order.state


def _has_order(reader: Reader, _: list[EventId], promise: _Promise) -> bool:
    return _order_state(reader, promise) is not None


def _has_cancelled(reader: Reader, _: list[EventId], promise: _Promise) -> bool:
    return _order_state(reader, promise) is OrderState.CANCELLED


def _has_card(reader: Reader, _: list[EventId], promise: _Promise) -> bool:
    if promise.of is None:
        return False
    partition = buyer_partition(UserId(promise.of))
    return PAYMENT_METHODS.get(reader, partition, PaymentMethodId(promise.what)) is not None


def _transfer_state(reader: Reader, promise: _Promise) -> TransferState | None:
    event_id = EVENT_OF_TRANSFER.get(reader, SYSTEM, promise.what)
    if event_id is None:
        return None
    transfer = TRANSFERS.get(reader, event_partition(event_id), TransferId(promise.what))
    return None if transfer is None else transfer.state


def _has_transfer(reader: Reader, _: list[EventId], promise: _Promise) -> bool:
    return _transfer_state(reader, promise) is not None


def _has_accepted(reader: Reader, _: list[EventId], promise: _Promise) -> bool:
    return _transfer_state(reader, promise) is TransferState.ACCEPTED


def _has_ticket(reader: Reader, events: list[EventId], promise: _Promise) -> bool:
    return any(TICKETS.get(reader, event_partition(event), TicketId(promise.what)) for event in events)


_KEPT: Final = {
    "entry": _has_entry,
    "hold": _has_hold,
    "order": _has_order,
    "cancelled order": _has_cancelled,
    "card": _has_card,
    "transfer": _has_transfer,
    "accepted transfer": _has_accepted,
    "ticket": _has_ticket,
}
