"""What the API says no with: a status and the body of an error, as https://docs.stripe.com/api/errors has it."""

from __future__ import annotations

from typing import TypeAlias

Document: TypeAlias = dict[str, object]
"""A JSON object as it goes over the wire."""


class Refusal(Exception):
    """An answer that is an error. What was written before it was raised is committed with it."""

    def __init__(self, status: int, message: str, **further: object) -> None:
        super().__init__(message)
        self.status = status
        self.error: Document = {"type": "invalid_request_error", "message": message, **further}
        code = further.get("code")
        if isinstance(code, str):
            self.error["doc_url"] = f"https://docs.stripe.com/error-codes/{code.replace('_', '-')}"


def bad_request(message: str, *, code: str | None = None, param: str | None = None) -> Refusal:
    """400, with the code and the parameter that it is about, if there are any."""
    further = {"code": code, "param": param}
    return Refusal(400, message, **{name: value for name, value in further.items() if value is not None})


def missing_in_path(thing: str, name: str) -> Refusal:
    """404: the address names something that is not there."""
    return Refusal(404, f"No such {thing}: '{name}'", code="resource_missing", param=thing_param(thing))


def missing_in_parameter(thing: str, name: str, param: str) -> Refusal:
    """400: a parameter names something that is not there."""
    return bad_request(f"No such {thing}: '{name}'", code="resource_missing", param=param)


def thing_param(thing: str) -> str:
    """How Stripe names the parameter of an id in the path."""
    return {"payment_intent": "intent", "PaymentMethod": "payment_method"}.get(thing, "id")


def wrong_state(message: str, intent: Document) -> Refusal:
    """400: the payment is not where this could be done."""
    return Refusal(400, message, code="payment_intent_unexpected_state", payment_intent=intent)


def rate_limited(reason: str = "endpoint-rate") -> tuple[Refusal, dict[str, str]]:
    """429: too many requests; with the header that says which limit it was."""
    refusal = Refusal(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits.",
        code="rate_limit",
    )
    return refusal, {"Stripe-Rate-Limited-Reason": reason}


def locked() -> Refusal:
    """429: another request is at this object."""
    return Refusal(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request.",
        code="lock_timeout",
    )


def api_error(status: int = 500) -> Refusal:
    """A fault of Stripe's own."""
    return Refusal(status, "An unknown error occurred", type="api_error")
