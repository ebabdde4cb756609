"""Disputes: a cardholder's bank takes the money back; made by a card that does so, or on a test's order."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tests.stripe_judge.call import Call, new_id
from tests.stripe_judge.records import Charge, Dispute
from tests.stripe_judge.refusals import Document
from tests.stripe_judge.store import Wanted

WITH_BANK: Final = frozenset({"needs_response", "under_review", "lost"})


def is_with_bank(call: Call, charge: Charge) -> bool:
    """Whether a bank has the charge's money, so that nothing of it can be refunded."""
    disputes = call.store.listed(Dispute, Wanted(intent=charge.intent))
    return any(dispute.charge == charge.id and dispute.status in WITH_BANK for dispute in disputes)


def open_dispute(call: Call, charge: Charge, amount: int, reason: str, *, inquiry: bool = False) -> Dispute:
    """The bank takes so much of a captured charge; an inquiry only asks about it."""
    dispute = Dispute(
        id=new_id("dp_"),
        created=call.now,
        amount=amount,
        currency=charge.currency,
        charge=charge.id,
        intent=charge.intent,
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    call.store.put(replace(charge, disputed=True))
    call.store.put(dispute)
    call.emit("charge.dispute.created", dispute)
    if not inquiry:
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
