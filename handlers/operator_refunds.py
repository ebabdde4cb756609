"""The operator's refunds, of whole orders and of single tickets, and an order as the operator sees it."""

from __future__ import annotations

import msgspec

from handlers.answers import answer, money, optional_time, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.operator_deeds import audited
from handlers.operator_records import operator_order
from handlers.services import Services
from handlers.wire.operator import DisputeAnswer, OperatorOrderDetails, RefundAnswer, RefundBody
from storage.engine import Reader, Transaction
from storage.schema.disputes import DisputeRecord
from storage.schema.ids import EventId, OrderId, RefundId, TicketId
from storage.schema.layout import EVENT_OF_ORDER, SYSTEM, event_partition
from storage.schema.refunds import RefundRecord
from storage.schema.states import RefundState
from ticketd.domain.disputes import list_disputes
from ticketd.domain.ledger import read_balance
from ticketd.domain.order_book import load_order
from ticketd.domain.refund_amounts import list_refunds_asked
from ticketd.domain.refunds import AskRefund, ask_refund
from ticketd.errors import Detail, ErrorCode, Refusal
from ticketd.ids import new_id


async def refund_order(services: Services, call: Call[RefundBody]) -> Reply:
    """200 with the refund: tickets have ended and their seats are on sale, the money is on its way.

    Refuses INVALID_REQUEST for a ticket that is named twice, then ORDER_NOT_FOUND, then as ``ask_refund``.
    """
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    body = call.body
    named = None if body.ticket_ids is None else tuple(map(TicketId, body.ticket_ids))
    if named is not None and len(set(named)) < len(named):
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"problem": "a ticket is named twice"})
    with services.engine.snapshot(SYSTEM) as view:
        event_id = _event_of(view, order_id)
    command = AskRefund(
        event_id=event_id,
        order_id=order_id,
        refund_id=RefundId(new_id()),
        ticket_ids=named,
        with_fees=body.with_fees,
        even_used=body.even_used,
        reason=body.reason,
    )

    def decide(tx: Transaction) -> RefundAnswer:
        refund = ask_refund(tx, command)
        return _refund(refund, load_order(tx, event_id, order_id).currency)

    decision = Decision(
        "ask_refund",
        (event_partition(event_id), SYSTEM),
        audited(call, ("order.refund", str(order_id)), decide, _told),
        answer,
        may_use_reserve=True,
    )
    return await commit(services, call, decision)


async def get_operator_order(services: Services, call: AnyCall) -> Reply:
    """200 with the order, its refunds and its disputes. Refuses ORDER_NOT_FOUND."""
    order_id = OrderId(call.path_id("order_id", ErrorCode.ORDER_NOT_FOUND))
    with services.engine.snapshot() as view:
        event_id = _event_of(view, order_id)
        order = load_order(view, event_id, order_id)
        refunds = list_refunds_asked(view, event_id, order)
        disputes = list_disputes(view, event_id, order_id)
        shown = operator_order(event_id, order, read_balance(view, event_id, order_id))
    return answer(
        OperatorOrderDetails(
            **msgspec.structs.asdict(shown),
            refunds=[_refund(refund, order.currency) for refund in refunds],
            refunds_refused=sum(refund.state is RefundState.REFUSED for refund in refunds),
            disputes=[_dispute(dispute, order.currency) for dispute in disputes],
        )
    )


def _event_of(view: Reader, order_id: OrderId) -> EventId:
    """The event of an order that its buyer can see. Nothing can be done about any other."""
    event_id = EVENT_OF_ORDER.get(view, SYSTEM, order_id)
    if event_id is None:
        raise Refusal(ErrorCode.ORDER_NOT_FOUND)
    return event_id


def _refund(refund: RefundRecord, currency: str) -> RefundAnswer:
    return RefundAnswer(
        refund_id=refund.refund_id,
        order_id=refund.order_id,
        status=refund.state.value,
        amount=money(refund.amount_minor, currency),
        currency=currency,
        with_fees=refund.with_fees,
        ticket_ids=list(refund.ticket_ids),
        whole_order=refund.closes,
        reason=refund.reason,
        problem=refund.problem,
        asked_at=time_text(refund.asked_at_ms),
        ended_at=optional_time(refund.ended_at_ms),
    )


def _dispute(dispute: DisputeRecord, currency: str) -> DisputeAnswer:
    return DisputeAnswer(
        dispute_id=dispute.dispute_ref,
        status=dispute.state.value,
        amount=money(dispute.amount_minor, currency),
        currency=currency,
        reason=dispute.reason,
        voided_tickets=list(dispute.voided),
        seen_at=time_text(dispute.seen_at_ms),
        ended_at=optional_time(dispute.ended_at_ms),
    )


def _told(refund: RefundAnswer) -> dict[str, Detail]:
    """What the audit trail says of it. An order may have more tickets than its line has room for."""
    return {
        "refund_id": str(refund.refund_id),
        "amount": str(refund.amount),
        "currency": refund.currency,
        "tickets": len(refund.ticket_ids),
        "whole_order": refund.whole_order,
        "reason": refund.reason,
    }
