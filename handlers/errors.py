"""The one mapping from refusals and failures to the error form."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from handlers.answers import encode_json, time_text
from handlers.call import Reply
from storage.engine import EngineOverloaded, EngineStopped, OutcomeUnknown, StorageFull
from ticketd.errors import ErrorCode, Refusal


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. ``details`` is always an object; ``request_id`` is also the header X-Request-ID."""

    code: str
    message: str
    details: dict[str, Any]  # JSON: the recursive type Detail has no schema in msgspec
    request_id: str
    timestamp: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The form of every error."""

    error: ErrorBody


_STORE_FAILURES: Final = (EngineStopped, StorageFull, OutcomeUnknown)


def refusal_of(failure: BaseException) -> Refusal:
    """The refusal that a failure amounts to. What nobody foresaw is INTERNAL_ERROR, without any detail of it."""
    if isinstance(failure, Refusal):
        return failure
    if isinstance(failure, EngineOverloaded):
        return Refusal(ErrorCode.OVERLOADED)
    if isinstance(failure, _STORE_FAILURES):
        return Refusal(ErrorCode.STORAGE_UNAVAILABLE)
    return Refusal(ErrorCode.INTERNAL_ERROR)


def error_reply(refusal: Refusal, request_id: str, now_ms: int) -> Reply:
    """A refusal in the error form, with Retry-After and WWW-Authenticate where they belong."""
    headers: list[tuple[str, str]] = []
    if refusal.retry_after_seconds is not None:
        headers.append(("Retry-After", str(refusal.retry_after_seconds)))
    if refusal.code.status == 401:
        scheme = "ApiKey" if refusal.code is ErrorCode.API_KEY_INVALID else "Bearer"
        headers.append(("WWW-Authenticate", scheme))
    if allow := refusal.details.get("allow") if refusal.code is ErrorCode.METHOD_NOT_ALLOWED else None:
        headers.append(("Allow", str(allow)))
    body = ErrorAnswer(
        ErrorBody(
            code=refusal.code.name,
            message=refusal.message,
            details=dict(refusal.details),
            request_id=request_id,
            timestamp=time_text(now_ms),
        )
    )
    return Reply(status=refusal.code.status, body=encode_json(body), headers=tuple(headers))
