"""Refunds: money that was taken goes back to the card, wholly or in parts."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.cards import CARDS
from tests.stripe_judge.currencies import written
from tests.stripe_judge.disputes import is_with_bank
from tests.stripe_judge.records import Charge, Intent, Refund
from tests.stripe_judge.refusals import Document, bad_request, wrong_state


def create_refund(call: Call) -> Document:
    """Gives back ``amount``, or all that is left."""
    charge = _charge_meant(call)
    left = charge.captured - charge.refunded
    if is_with_bank(call, charge):
        raise bad_request(
            f"Charge {charge.id} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if left == 0:
        raise bad_request(f"Charge {charge.id} has already been refunded.", code="charge_already_refunded")
    amount = call.params.integer("amount", left)
    if amount > left:
        raise bad_request(
            f"Refund amount ({written(amount, charge.currency)}) is greater than unrefunded amount on charge "
            f"({written(left, charge.currency)})",
            code="amount_too_large",
            param="amount",
        )
    refund = Refund(
        id=new_id("re_"),
        created=call.now,
        amount=amount,
        currency=charge.currency,
        charge=charge.id,
        intent=charge.intent,
        status="pending" if CARDS[charge.card].refunds_wait else "succeeded",
        reason=call.params.text_or_none("reason"),
        metadata=call.params.metadata(),
    )
    charge = replace(charge, refunded=charge.refunded + amount)
    call.store.put(charge)
    call.store.put(refund)
    call.emit("refund.created", refund)
    call.emit("charge.refunded", charge)
    return call.show(refund)


def _charge_meant(call: Call) -> Charge:
    """The charge to refund: one of ``charge`` and ``payment_intent`` must name it, both must agree."""
    charge = call.meant(Charge, "charge", "charge")
    intent = call.meant(Intent, "payment_intent", "payment_intent")
    if charge is None and intent is None:
        raise bad_request(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    if charge is not None and intent is not None and charge.intent != intent.id:
        raise bad_request("The charge does not belong to the payment_intent.", param="charge")
    if intent is None:
        assert charge is not None
        intent = call.store.get(Intent, charge.intent)
    if intent.status != "succeeded":
        raise wrong_state(
            f"This PaymentIntent ({intent.id}) does not have a successful charge to refund.",
            call.show(intent),
        )
    assert intent.charge is not None
    if charge is not None and charge.id != intent.charge:
        raise bad_request(f"Charge {charge.id} was not successful and cannot be refunded.", param="charge")
    return call.store.get(Charge, intent.charge)


def retrieve_refund(call: Call) -> Document:
    return call.show(call.named(Refund, "refund"))


def settle_refund(call: Call, refund: Refund, status: str) -> Refund:
    """What becomes of a refund later, on a test's order: it succeeds, or fails and its money comes back."""
    failed = status == "failed"
    refund = replace(refund, status=status, failure_reason="expired_or_canceled_card" if failed else None)
    call.store.put(refund)
    if failed:
        charge = call.store.get(Charge, refund.charge)
        call.store.put(replace(charge, refunded=charge.refunded - refund.amount))
        call.emit("refund.failed", refund)
    else:
        call.emit("refund.updated", refund)
    call.emit("charge.refund.updated", refund)
    return refund
