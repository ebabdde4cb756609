"""``/_judge/…``: where tests set the judge, order what is to happen, and see what did.

No credentials, JSON both ways.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec

from tests.stripe_judge import faults
from tests.stripe_judge.behaviour import Behaviour, Webhooks
from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.cards import CARDS
from tests.stripe_judge.charging import end, expire_authorisations
from tests.stripe_judge.disputes import WITH_BANK, close_dispute, open_dispute
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.records import Charge, Dispute, Event, Intent, Record, Refund, Token
from tests.stripe_judge.refunds import settle_refund
from tests.stripe_judge.store import Store, Wanted
from tests.stripe_judge.wire import Answer, Request, json_answer

PREFIX: Final = "/_judge/"
S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", bound=Record)


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a test orders."""


class DisputeOrder(Order, frozen=True, kw_only=True):
    """``amount`` None is all that was taken."""

    payment_intent: str
    amount: int | None = None
    reason: str = "fraudulent"
    inquiry: bool = False


class Verdict(Order, frozen=True, kw_only=True):
    dispute: str
    won: bool


class Settlement(Order, frozen=True, kw_only=True):
    refund: str
    status: Literal["succeeded", "failed"]


class Expiry(Order, frozen=True, kw_only=True):
    payment_intent: str


class TokenOrder(Order, frozen=True, kw_only=True):
    """A token for one use, of the card behind ``tok_<card>``."""

    card: str = "visa"


class DeliveryOrder(Order, frozen=True, kw_only=True):
    """Events to send now, in this order; None for all that there are, ``shuffled`` by ``seed`` or as they were made."""

    events: tuple[str, ...] | None = None
    order: Literal["made", "reversed", "shuffled"] = "made"
    seed: int = 0


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one payment. ``authorised`` was reserved at any time, ``capturable`` still is; ``refunded`` was
    taken and given back, ``released`` never taken; ``disputed`` is with the bank now."""

    payment_intent: str
    status: str
    currency: str
    amount: int
    customer: str | None
    metadata: dict[str, str]
    created: int
    tries: int
    authorised: int
    capturable: int
    captured: int
    refunded: int
    released: int
    disputed: int


class CallSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the API that came; ``status`` None where it was given no answer."""

    at: float
    endpoint: str
    path: str
    key: str | None
    status: int | None
    replayed: bool
    fault: str | None


class NotThere(Exception):
    """An order names what is not there, or not in a state for it."""


def obey(judge: Judge, request: Request) -> Answer:
    """Does what is asked, in one commit: 400 for an order out of form, 404 for one of something that is not there."""
    found = _ORDERS.get((request.method, request.path.removeprefix(PREFIX)))
    if found is None:
        return json_answer(404, {"error": "no such order"})
    try:
        with judge.store.transaction():
            expire_authorisations(judge.call())
            answer = found(judge.call(), request.body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        return json_answer(400, {"error": str(error)})
    except NotThere as error:
        return json_answer(404, {"error": str(error)})
    judge.stir()
    return json_answer(200, answer)


def ledger(store: Store) -> list[LedgerLine]:
    """Every payment, oldest first."""
    return [_line(store, intent) for intent in reversed(store.listed(Intent, Wanted()))]


def _line(store: Store, intent: Intent) -> LedgerLine:
    charges = store.listed(Charge, Wanted(intent=intent.id))
    good = [charge for charge in charges if charge.decline is None]
    disputes = store.listed(Dispute, Wanted(intent=intent.id))
    return LedgerLine(
        payment_intent=intent.id,
        status=intent.status,
        currency=intent.currency,
        amount=intent.amount,
        customer=intent.customer,
        metadata=intent.metadata,
        created=intent.created,
        tries=len(charges),
        authorised=sum(charge.amount for charge in good),
        capturable=intent.capturable,
        captured=sum(charge.captured for charge in good),
        refunded=sum(charge.refunded for charge in good),
        released=sum(charge.released for charge in good),
        disputed=sum(dispute.amount for dispute in disputes if dispute.status in WITH_BANK),
    )


# --- one function for each order ----------------------------------------------------------------------------


def _there(call: Call, kind: type[R], name: str) -> R:
    found = call.store.find(kind, name)
    if found is None:
        raise NotThere(f"no {kind.__name__} {name!r}")
    return found


def _changed(setting: S, body: bytes) -> S:
    """The settings with those that the body names in place of what they were."""
    given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields = msgspec.json.decode(msgspec.json.encode(setting), type=dict[str, msgspec.Raw])
    return msgspec.json.decode(msgspec.json.encode(fields | given), type=type(setting))


def _set(kind: type[S]) -> Callable[[Call, bytes], object]:
    def change(call: Call, body: bytes) -> object:
        changed = _changed(call.store.setting(kind), body)
        call.store.set(changed)
        return changed

    return change


def _get_calls(call: Call, body: bytes) -> object:
    rows = call.store.sql.execute(
        "SELECT at, endpoint, path, key, status, replayed, fault FROM calls ORDER BY number"
    ).fetchall()
    names = CallSeen.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), CallSeen, strict=False) for row in rows]


def _order_fault(call: Call, body: bytes) -> object:
    faults.order_fault(call.store, msgspec.json.decode(body, type=faults.FaultOrder))
    return faults.faults_ordered(call.store)


def _forget_faults(call: Call, body: bytes) -> object:
    faults.forget_faults(call.store)
    return []


def _open_dispute(call: Call, body: bytes) -> object:
    order = msgspec.json.decode(body, type=DisputeOrder)
    intent = _there(call, Intent, order.payment_intent)
    if intent.status != "succeeded" or intent.charge is None:
        raise NotThere(f"nothing was taken of {intent.id}: it has a status of {intent.status}")
    charge = call.store.get(Charge, intent.charge)
    amount = charge.captured if order.amount is None else order.amount
    return call.show(open_dispute(call, charge, amount, order.reason, inquiry=order.inquiry))


def _close_dispute(call: Call, body: bytes) -> object:
    verdict = msgspec.json.decode(body, type=Verdict)
    return call.show(close_dispute(call, _there(call, Dispute, verdict.dispute), won=verdict.won))


def _settle_refund(call: Call, body: bytes) -> object:
    order = msgspec.json.decode(body, type=Settlement)
    refund = _there(call, Refund, order.refund)
    if refund.status == "failed":
        raise NotThere(f"{refund.id} has failed before")
    return call.show(settle_refund(call, refund, order.status))


def _expire(call: Call, body: bytes) -> object:
    intent = _there(call, Intent, msgspec.json.decode(body, type=Expiry).payment_intent)
    if intent.status != "requires_capture":
        raise NotThere(f"nothing is authorised of {intent.id}: it has a status of {intent.status}")
    return call.show(end(call, intent, "automatic"))


def _make_token(call: Call, body: bytes) -> object:
    card = msgspec.json.decode(body, type=TokenOrder).card
    if card not in CARDS:
        raise NotThere(f"no card {card!r}")
    token = Token(id=new_id("tok_1"), created=call.now, card=card)
    call.store.put(token)
    return {"id": token.id}


def _deliver(call: Call, body: bytes) -> object:
    order = msgspec.json.decode(body or b"{}", type=DeliveryOrder)
    events = order.events
    if events is None:
        events = tuple(event.id for event in reversed(call.store.listed(Event, Wanted())))
    if order.order == "reversed":
        events = events[::-1]
    elif order.order == "shuffled":
        events = tuple(random.Random(order.seed).sample(events, len(events)))
    for place, event in enumerate(events):
        _there(call, Event, event)
        call.store.sql.execute(
            "INSERT INTO deliveries (event, due, place) VALUES (?, ?, ?)", (event, call.wall, place)
        )
    return list(events)


def _get_deliveries(call: Call, body: bytes) -> object:
    rows = call.store.sql.execute(
        "SELECT event, tries, status, done FROM deliveries ORDER BY number"
    ).fetchall()
    return [
        {"event": event, "tries": tries, "status": status, "done": bool(done)}
        for event, tries, status, done in rows
    ]


_ORDERS: Final[dict[tuple[str, str], Callable[[Call, bytes], object]]] = {
    ("GET", "ledger"): lambda call, body: ledger(call.store),
    ("GET", "calls"): _get_calls,
    ("GET", "settings"): lambda call, body: call.store.setting(Behaviour),
    ("POST", "settings"): _set(Behaviour),
    ("GET", "webhook"): lambda call, body: call.store.setting(Webhooks),
    ("POST", "webhook"): _set(Webhooks),
    ("POST", "webhook/deliver"): _deliver,
    ("GET", "webhook/deliveries"): _get_deliveries,
    ("GET", "faults"): lambda call, body: faults.faults_ordered(call.store),
    ("POST", "faults"): _order_fault,
    ("DELETE", "faults"): _forget_faults,
    ("POST", "disputes"): _open_dispute,
    ("POST", "disputes/close"): _close_dispute,
    ("POST", "refunds"): _settle_refund,
    ("POST", "expire"): _expire,
    ("POST", "tokens"): _make_token,
}
