"""Disputes: a cardholder's bank takes the money back; made by a card that does so, or on a test's order."""

from __future__ import annotations

from msgspec.structs import replace

from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.records import Charge, Dispute
from tests.stripe_judge.refusals import Document


def open_dispute(call: Call, charge: Charge, amount: int, reason: str) -> Dispute:
    """The bank takes so much of a captured charge."""
    dispute = Dispute(
        id=new_id("dp_"),
        created=call.now,
        amount=amount,
        currency=charge.currency,
        charge=charge.id,
        intent=charge.intent,
        reason=reason,
        status="needs_response",
    )
    call.store.put(replace(charge, disputed=True))
    call.store.put(dispute)
    call.emit("charge.dispute.created", dispute)
    call.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close_dispute(call: Call, dispute: Dispute, *, won: bool) -> Dispute:
    """The bank has decided; won, the money comes back."""
    dispute = replace(dispute, status="won" if won else "lost")
    call.store.put(dispute)
    call.emit("charge.dispute.closed", dispute)
    if won:
        call.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def retrieve_dispute(call: Call) -> Document:
    return call.show(call.named(Dispute, "dispute"))
