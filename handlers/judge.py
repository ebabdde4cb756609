"""Who calls, and whether this call may be made at all: API key, token, device. In that order, before any body is read.

Rules of the sale are not here; ownership and state are judged by the endpoint and its transition.
"""

from __future__ import annotations

from typing import Final

from handlers.call import ListenerKind, Principal, RawRequest
from handlers.endpoint import Credential, Endpoint, Token
from handlers.services import Services
from storage.schema.records import ApiKeyRecord
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.claims import Claims, TokenExpired, TokenInvalid
from ticketd.credentials.devices import FingerprintInvalid, hash_device, same_device
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal

_API: Final = "/v1/"
DEVICE_HEADER: Final = "x-device-id"
_BOUND_KINDS: Final = frozenset({TokenKind.QUEUE, TokenKind.ACCESS})


def judge_api_key(services: Services, endpoint: Endpoint, request: RawRequest) -> ApiKeyRecord | None:
    """The API key of a call. Refuses API_KEY_INVALID; SCOPE_MISSING for a key of another scope.

    A key that is sent to the API must be valid also where none is needed. On the operator's Unix socket the file's mode
    is the credential, and no key is asked for.
    """
    text = request.headers.get("x-api-key")
    open_to_all = not endpoint.credential.scopes
    if not _minds_credentials(endpoint, request):
        return None
    if text is None and (open_to_all or request.listener is ListenerKind.OPERATOR):
        return None
    found = services.keys.find_api_key(text) if text is not None else None
    if found is None:
        raise Refusal(ErrorCode.API_KEY_INVALID)
    if open_to_all:
        return found
    if Scope(found.scope) not in endpoint.credential.scopes:
        needed = sorted(scope.value for scope in endpoint.credential.scopes)
        raise Refusal(ErrorCode.SCOPE_MISSING, details={"scopes": needed})
    return found


def judge_token(
    services: Services, credential: Credential, request: RawRequest, query_token: str | None
) -> Claims | None:
    """What the call's token says; None without one, where none is needed.

    Refuses in this order: TOKEN_MISSING; TOKEN_EXPIRED or TOKEN_INVALID for any token that was sent; QUEUE_ACCESS_ONLY
    or TOKEN_KIND_NOT_ALLOWED for one of another kind.
    """
    bearer = _bearer(request)
    sent = [text for text in (bearer, query_token) if text is not None]
    if not sent:
        if credential.token is Token.NEEDED:
            raise Refusal(ErrorCode.TOKEN_MISSING)
        return None
    # With both, both must be good; the header's is the one that counts.
    claims, *_ = [_verify(services, text) for text in sent]
    # Only a queue token is short-lived and narrow enough to stand in an address.
    may_stand_there = bearer is not None or claims.kind is TokenKind.QUEUE
    if claims.kind not in credential.kinds or not may_stand_there:
        code = ErrorCode.TOKEN_KIND_NOT_ALLOWED
        if claims.kind is TokenKind.QUEUE:
            code = ErrorCode.QUEUE_ACCESS_ONLY
        raise Refusal(code)
    return claims


def _verify(services: Services, token: str) -> Claims:
    try:
        return services.keys.tokens.verify(token, services.clock.now_ms())
    except TokenExpired:
        raise Refusal(ErrorCode.TOKEN_EXPIRED) from None
    except TokenInvalid:
        raise Refusal(ErrorCode.TOKEN_INVALID) from None


def judge_device(services: Services, claims: Claims | None, request: RawRequest) -> None:
    """Refuses DEVICE_MISMATCH if a queue or access token comes from another device than the one that joined."""
    binding = services.settings.auth.device_binding
    if claims is None or claims.kind not in _BOUND_KINDS or claims.device_hash is None or binding == "off":
        return
    sent = request.headers.get(DEVICE_HEADER)
    if sent is None:
        if binding == "present":
            return
        raise Refusal(ErrorCode.DEVICE_MISMATCH, details={"header": "X-Device-ID"})
    try:
        matches = same_device(hash_device(sent), claims.device_hash)
    except FingerprintInvalid:
        matches = False
    if not matches:
        raise Refusal(ErrorCode.DEVICE_MISMATCH, details={"header": "X-Device-ID"})


def judge(services: Services, endpoint: Endpoint, request: RawRequest, query_token: str | None) -> Principal:
    """Who calls. ``query_token`` is the query's ``queue_token``, which counts only if there is no Authorization."""
    api_key = judge_api_key(services, endpoint, request)
    claims = None
    if _minds_credentials(endpoint, request):
        claims = judge_token(services, endpoint.credential, request, query_token)
    judge_device(services, claims, request)
    return Principal(api_key=api_key, claims=claims)


def _minds_credentials(endpoint: Endpoint, request: RawRequest) -> bool:
    """Whether credentials are looked at: in the API, and for everything on the operator's TCP listener.

    Health checks and pages for people take no notice of any.
    """
    return endpoint.path.startswith(_API) or request.listener is ListenerKind.OPERATOR_TCP


def _bearer(request: RawRequest) -> str | None:
    """The token of an Authorization header. TOKEN_INVALID if the header is there and holds no bearer token."""
    value = request.headers.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(ErrorCode.TOKEN_INVALID)
    return token.strip()
