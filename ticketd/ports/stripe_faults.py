"""What an error of Stripe's means: an answer that says no, or no answer, after which something may have happened.

Source: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-low-level. No text of Stripe's own is
passed on, since it may repeat what was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx
import msgspec
import stripe

from ticketd.ports.payments import IdempotencyMismatch
from ticketd.ports.stripe_answers import ErrorBody, FaultBody


class StripeRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe has read the call and says no: nothing was done, and a repetition changes nothing.

    ``code`` is Stripe's error code, or ``declined`` or ``invalid_request`` where it gives none; ``payment_ref`` the
    payment that came to be all the same.
    """

    status: int
    code: str
    decline_code: str | None = None
    param: str | None = None
    payment_ref: str | None = None
    request_id: str | None = None


class StripeTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """No outcome. ``wait_seconds`` is how long Stripe asks to be left alone; ``is_ours`` says that the account or its
    API key is at fault, which only the operator can mend; ``is_kept`` that this is answered to this idempotency key
    for ever, since Stripe failed while it did what was asked."""

    what: str
    effect_possible: bool
    may_retry: bool
    wait_seconds: float = 0.0
    is_ours: bool = False
    is_kept: bool = False


_BODY: Final = msgspec.json.Decoder(ErrorBody)
_LONGEST_WAIT_SECONDS: Final = 3600.0

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""What fails before the first byte of the request is sent."""


def read_fault(error: stripe.StripeError) -> StripeRefusal | StripeTrouble:
    """What the error means. Raises IdempotencyMismatch for a key that was used for something else."""
    status = error.http_status
    if status is None:
        return _read_network_fault(error)
    if isinstance(error, stripe.IdempotencyError):
        raise IdempotencyMismatch(f"stripe: {_told(error)}")
    headers: Mapping[str, str] = error.headers or {}
    if isinstance(error, stripe.RateLimitError):
        return _trouble(error, headers, effect_possible=False, retry=True)
    if status in {401, 403}:
        return _trouble(error, headers, effect_possible=False, retry=False, is_ours=True)
    if status in {400, 402, 404}:
        fault = _read_body(error)
        return StripeRefusal(
            status=status,
            code=fault.code or ("declined" if status == 402 else "invalid_request"),
            decline_code=fault.decline_code,
            param=fault.param,
            payment_ref=None if fault.payment_intent is None else fault.payment_intent.id,
            request_id=error.request_id,
        )
    return _trouble(error, headers, effect_possible=True, retry=status == 409 or status >= 500)


def _read_network_fault(error: stripe.StripeError) -> StripeTrouble:
    cause = error.__cause__
    kind = type(error if cause is None else cause).__name__
    sent = not isinstance(cause, _NEVER_SENT)
    return StripeTrouble(what=f"stripe: {kind}", effect_possible=sent, may_retry=True)


def _trouble(
    error: stripe.StripeError,
    headers: Mapping[str, str],
    *,
    effect_possible: bool,
    retry: bool,
    is_ours: bool = False,
) -> StripeTrouble:
    asked = headers.get("stripe-should-retry")
    is_kept = (error.http_status or 0) >= 500 and headers.get("idempotent-replayed") == "true"
    return StripeTrouble(
        what=f"stripe: {_told(error)}",
        effect_possible=effect_possible,
        may_retry=retry if asked not in {"true", "false"} else asked == "true",
        wait_seconds=_wait_seconds(headers.get("retry-after")),
        is_ours=is_ours,
        is_kept=is_kept,
    )


def _wait_seconds(text: str | None) -> float:
    """The seconds of a Retry-After; 0 for its other form, a date, and for none."""
    if text is None or not (text.isascii() and text.isdigit()):
        return 0.0
    return min(float(text[:10]), _LONGEST_WAIT_SECONDS)


def _read_body(error: stripe.StripeError) -> FaultBody:
    try:
        return _BODY.decode(error.http_body or "").error
    except msgspec.MsgspecError:
        return FaultBody()


def _told(error: stripe.StripeError) -> str:
    """The error in words of our own."""
    code = _read_body(error).code
    parts = [f"status {error.http_status}", *([code] if code else [])]
    if error.request_id:
        parts.append(f"request {error.request_id}")
    return ", ".join(parts)
