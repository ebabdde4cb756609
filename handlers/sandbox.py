"""The sandbox gateway's page: where a buyer acts, in place of the bank's own 3-D Secure page. Sandbox only."""

from __future__ import annotations

from typing import Final

from handlers.answers import money
from handlers.call import AnyCall, Call, Reply
from handlers.pages import page, text_of
from handlers.services import Services
from handlers.wire.sandbox import ChallengeForm
from ticketd.errors import ErrorCode, Refusal
from ticketd.ports.payments import GatewayState
from ticketd.ports.sandbox_bank import ActionOutcome, SandboxAction
from ticketd.ports.sandbox_payments import SandboxGateway

_TITLE: Final = "Sandbox payment"
_SAID: Final = {
    GatewayState.AUTHORISED: "The payment was confirmed. You can go back to the shop.",
    GatewayState.CAPTURED: "The payment was confirmed. You can go back to the shop.",
    GatewayState.FAILED: "The payment was refused. You can go back to the shop and try again.",
    GatewayState.VOIDED: "This payment was given up. You can go back to the shop.",
}


async def show_challenge(services: Services, call: AnyCall) -> Reply:
    """200 with the page whose form confirms or refuses a payment."""
    _, action = await _find(services, call)
    if action.state is not GatewayState.REQUIRES_ACTION:
        return page(_TITLE, f"<p>{_SAID[action.state]}</p>")
    amount = f"{money(action.amount_minor, action.currency)} {action.currency}"
    return page(
        _TITLE,
        f"<p>No real money moves here. Confirm the payment of <strong>{text_of(amount)}</strong> for "
        f"{text_of(action.description)}?</p>"
        '<form method="post"><button name="outcome" value="complete">Confirm</button>'
        '<button name="outcome" value="fail">Refuse</button></form>',
    )


async def answer_challenge(services: Services, call: Call[ChallengeForm]) -> Reply:
    """200: the payment was confirmed or refused, and the order is looked at again at once."""
    sandbox, action = await _find(services, call)
    done = await sandbox.complete_action(action.payment_ref, ActionOutcome(call.body.outcome))
    await services.payments.wake(action.order_id)
    return page(_TITLE, f"<p>{_SAID[(done or action).state]}</p>")


async def _find(services: Services, call: AnyCall) -> tuple[SandboxGateway, SandboxAction]:
    if services.sandbox is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    action = await services.sandbox.describe_action(call.path["payment_ref"])
    if action is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    return services.sandbox, action
