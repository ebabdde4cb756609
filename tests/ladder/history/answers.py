"""What each call had to be answered, in a sale as it was when the answer was decided.

One function for each kind of call: it is given the sale right after the version that the answer tells of, and raises
Difference if that answer could not be given then. ``made`` names what was made by it, to be matched with the changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from storage.schema.states import OrderState
from tests.ladder.history.model import LIVE, Difference, Hold, Sale, is_live
from tests.ladder.sale.recording import Operation

_NEW_KINDS: Final = frozenset(
    {("join", 200), ("leave", 204), ("release", 204), ("pay", 201), ("cancel", 200)}
)


def judge_answer(sale: Sale, operation: Operation) -> str | None:
    """Raises Difference; what was made by it, if anything."""
    number, status = operation.of_event, operation.status
    if number is None or status is None:
        raise Difference("the answer tells no version of the event")
    if (operation.kind, status) in _NEW_KINDS and not number.new:
        raise Difference("something was done, and nothing was committed for it")
    return _JUDGES[operation.kind](sale, operation)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise Difference(what)


def _equal(told: object, so: object, what: str) -> None:
    if told != so:
        raise Difference(f"{what}: told {told}, is {so}")


def _unexpected(operation: Operation) -> Difference:
    return Difference(f"{operation.status} {operation.code} is no answer to {operation.kind}")


# --- the room -------------------------------------------------------------------------------------------------------


def _join(sale: Sale, operation: Operation) -> str | None:
    known = sale.newest_entry.get(operation.buyer)
    if operation.code == "ALREADY_IN_QUEUE":
        _require(known is not None and known.state in LIVE, f"{known} is no place in the queue")
        return None
    if operation.status != 200 or known is None:
        raise _unexpected(operation)
    told = operation.json
    _equal(told["entry_id"], known.entry, "entry")
    _equal(told["status"], known.state, "status")
    _equal(told["queue_position"], sale.position(known.entry), "position")
    _equal(told["queue_size"], len(sale.line), "queue size")
    return f"entry {known.entry}"


def _status(sale: Sale, operation: Operation) -> str | None:
    known = sale.newest_entry.get(operation.buyer)
    if known is None:
        raise Difference("there is no place")
    if operation.code == "QUEUE_ENTRY_EXPIRED":
        _equal(operation.json["error"]["details"]["status"], known.state, "status")
        return None
    if operation.status != 200:
        raise _unexpected(operation)
    told = operation.json
    if told["status"] == "READY":
        _equal("SHOPPING", known.state, "state of who has an access token")
        return f"claim {known.entry}" if operation.of_event is not None and operation.of_event.new else None
    _equal(told["status"], known.state, "status")
    _equal(told["queue_position"], sale.position(known.entry), "position")
    _equal(told["queue_size"], len(sale.line), "queue size")
    return None


def _leave(sale: Sale, operation: Operation) -> str | None:
    known = sale.newest_entry.get(operation.buyer)
    if known is None or operation.status not in {204, 410}:
        raise _unexpected(operation)
    if operation.status == 204:
        _equal("LEFT", known.state, "state of who has left")
        return f"left {known.entry}"
    _equal(operation.json["error"]["details"]["status"], known.state, "status")
    return None


# --- seats ----------------------------------------------------------------------------------------------------------


def _reserve(sale: Sale, operation: Operation) -> str | None:
    body = operation.body or {}
    wanted: list[str] = body.get("seat_ids", [])
    quantity = body.get("quantity", len(wanted))
    if operation.status == 201:
        return _reserved(sale, operation, wanted, quantity)
    details = operation.json["error"]["details"]
    match operation.code:
        case "SEATS_TAKEN":
            _require(not sale.in_state(wanted, "SOLD"), "a sold seat weighs more than a held one")
            _equal(details["seat_ids"], sale.in_state(wanted, "RESERVED"), "held seats")
            _require(bool(details["seat_ids"]), "all the seats are free")
        case "SEATS_UNAVAILABLE" if wanted:
            _equal(details["seat_ids"], sale.in_state(wanted, "SOLD"), "sold seats")
            _require(bool(details["seat_ids"]), "none of the seats is sold")
        case "SEATS_UNAVAILABLE":
            _equal(details["available"], sale.free(), "free seats")
            _require(sale.free() < quantity, "there are so many")
        case "NO_ADJACENT_SEATS":
            _require(not wanted and sale.free() >= quantity, "there are not so many")
        case "PURCHASE_LIMIT_EXCEEDED":
            held, bought = sale.held(operation.buyer), sale.bought.get(operation.buyer, 0)
            _equal((details["held"], details["bought"]), (held, bought), "what the buyer has")
            _require(held + bought + quantity > sale.hall.purchase_limit, "it is within the limit")
        case "ACCESS_EXPIRED":
            known = sale.newest_entry.get(operation.buyer)
            _require(known is None or known.state != "SHOPPING", "the buyer is shopping")
        case _:
            raise _unexpected(operation)
    return None


def _reserved(sale: Sale, operation: Operation, wanted: list[str], quantity: int) -> str | None:
    hold = _own_hold(sale, operation, operation.json["reservation_id"])
    _equal(sorted(operation.json["seat_ids"]), sorted(hold.seats), "seats")
    _equal(len(hold.seats), quantity, "number of seats")
    _require(not wanted or sorted(wanted) == sorted(hold.seats), "other seats than were asked for")
    _require(is_live(hold), f"{hold} is no live hold")
    return f"hold {hold.hold}" if operation.of_event is not None and operation.of_event.new else None


def _own_hold(sale: Sale, operation: Operation, name: str) -> Hold:
    hold = sale.holds.get(name)
    if hold is None or hold.user != operation.buyer:
        raise Difference(f"the buyer has no reservation {name}, but {hold}")
    return hold


def _about_hold(sale: Sale, operation: Operation, name: str) -> Hold:
    """The hold, where a refusal is the one that its state brings; Difference for another."""
    hold = _own_hold(sale, operation, name)
    if operation.code == "ORDER_EXISTS":
        _require(hold.state in {"PAYING", "ORDERED"}, f"{hold} has no order")
        _equal(operation.json["error"]["details"]["order_id"], hold.order, "order")
    elif operation.code == "RESERVATION_NOT_FOUND":
        _equal(hold.state, "RELEASED", "state of a reservation that is not found")
    elif operation.code:
        raise _unexpected(operation)
    return hold


def _release(sale: Sale, operation: Operation) -> str | None:
    hold = _about_hold(sale, operation, operation.target.rpartition("/")[2])
    if operation.code:
        return None
    _equal(hold.state, "RELEASED", "state of a hold given up")
    return f"released {hold.hold}"


def _look_at_hold(sale: Sale, operation: Operation) -> str | None:
    hold = _about_hold(sale, operation, operation.target.rpartition("/")[2])
    if not operation.code:
        _equal(operation.json["status"], hold.state, "status")
        _equal(sorted(operation.json["seat_ids"]), sorted(hold.seats), "seats")
    return None


# --- orders ---------------------------------------------------------------------------------------------------------


def _pay(sale: Sale, operation: Operation) -> str | None:
    name = (operation.body or {})["reservation_id"]
    if operation.code == "PAYMENT_DECLINED":
        _require(_own_hold(sale, operation, name).state == "HELD", "the hold does not live on")
        return None
    hold = _about_hold(sale, operation, name)
    if operation.code:
        return None
    order = sale.orders.get(operation.json["order_id"])
    if order is None:
        raise Difference("there is no such order")
    _require(order.hold is hold and hold.state == "ORDERED", f"{order} did not buy {hold}")
    _equal((operation.json["status"], "PENDING"), (order.state.value, order.state.value), "status")
    _equal(sorted(seat["seat_id"] for seat in operation.json["seats"]), sorted(hold.seats), "seats")
    return f"placed {order.order}"


def _look_at_order(sale: Sale, operation: Operation) -> str | None:
    order = sale.orders.get(operation.target.rpartition("/")[2])
    if operation.status != 200 or order is None:
        raise _unexpected(operation)
    _equal(operation.json["status"], order.state.value, "status")
    _equal(operation.json["payment_status"], order.payment.value, "payment")
    return None


def _cancel(sale: Sale, operation: Operation) -> str | None:
    order = sale.orders.get(operation.target.split("/")[3])
    if order is None or operation.code not in {"", "ORDER_ALREADY_CANCELLED"}:
        raise _unexpected(operation)
    _equal(order.state, OrderState.CANCELLED, "state of a cancelled order")
    return None if operation.code else f"cancelled {order.order}"


_JUDGES: Final[dict[str, Callable[[Sale, Operation], str | None]]] = {
    "join": _join,
    "status": _status,
    "leave": _leave,
    "reserve": _reserve,
    "reserve_best": _reserve,
    "release": _release,
    "look_at_hold": _look_at_hold,
    "pay": _pay,
    "look_at_order": _look_at_order,
    "cancel": _cancel,
}
