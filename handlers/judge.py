"""Who calls, and whether this call may be made at all: API key, rate limit, token, device. In that order, before any
body is read.

Rules of the sale are not here; ownership and state are judged by the endpoint and its transition.
"""

from __future__ import annotations

from typing import Final

import msgspec

from handlers.call import ListenerKind, Principal, RawRequest
from handlers.endpoint import Credential, Endpoint, Token
from handlers.metering import Meter
from handlers.services import Services
from storage.schema.records import ApiKeyRecord
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.claims import Claims, TokenExpired, TokenInvalid
from ticketd.credentials.devices import FingerprintInvalid, hash_device, same_device
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal

DEVICE_HEADER: Final = "x-device-id"
_BOUND_KINDS: Final = frozenset({TokenKind.QUEUE, TokenKind.ACCESS})


def judge_api_key(services: Services, endpoint: Endpoint, request: RawRequest) -> ApiKeyRecord | None:
    """The API key of a call that credentials are looked at for. Refuses API_KEY_INVALID; SCOPE_MISSING for a key of
    another scope.

    A key that is sent must be valid also where none is needed. On the operator's Unix socket the file's mode
    is the credential, and no key is asked for.
    """
    text = request.headers.get("x-api-key")
    open_to_all = not endpoint.credential.scopes
    if text is None and (open_to_all or request.listener is ListenerKind.OPERATOR):
        return None
    found = services.keys.find_api_key(text) if text is not None else None
    if found is None:
        raise Refusal(ErrorCode.API_KEY_INVALID)
    if open_to_all:
        return found
    if found.scope not in endpoint.credential.scope_names:
        needed = sorted(endpoint.credential.scope_names)
        raise Refusal(ErrorCode.SCOPE_MISSING, details={"scopes": needed})
    return found


class SentToken(msgspec.Struct, frozen=True):
    """The token that a call carries, verified once: what it says, or how it is to be refused when its turn comes."""

    claims: Claims | None = None
    refusal: Refusal | None = None
    in_query: bool = False


_NOTHING_SENT: Final = SentToken()


def read_token(services: Services, request: RawRequest, query_token: str | None, now_ms: int) -> SentToken:
    """What the call's token says at ``now_ms``. With one in the header and one in the query both must be good; the
    header's is the one that counts."""
    value = request.headers.get("authorization")
    if value is None and query_token is None:
        return _NOTHING_SENT
    try:
        claims = None if value is None else _verify(services, _bearer(value), now_ms)
        in_query = None if query_token is None else _verify(services, query_token, now_ms)
    except Refusal as refusal:
        return SentToken(refusal=refusal)
    return SentToken(in_query, in_query=True) if claims is None else SentToken(claims)


def judge_token(
    services: Services, credential: Credential, api_key: ApiKeyRecord | None, sent: SentToken
) -> Claims | None:
    """What the call's token says; None without one, where none is needed.

    Refuses in this order: TOKEN_MISSING; TOKEN_EXPIRED or TOKEN_INVALID for any token that was sent; QUEUE_ACCESS_ONLY
    or TOKEN_KIND_NOT_ALLOWED for one of another kind.
    """
    if sent.refusal is not None:
        raise sent.refusal
    claims = sent.claims
    if claims is None:
        if _needs_token(services, credential, api_key):
            raise Refusal(ErrorCode.TOKEN_MISSING)
        return None
    # Only a queue token is short-lived and narrow enough to stand in an address.
    may_stand_there = not sent.in_query or claims.kind is TokenKind.QUEUE
    if claims.kind not in credential.kinds or not may_stand_there:
        code = ErrorCode.TOKEN_KIND_NOT_ALLOWED
        if claims.kind is TokenKind.QUEUE:
            code = ErrorCode.QUEUE_ACCESS_ONLY
        raise Refusal(code)
    return claims


def _needs_token(services: Services, credential: Credential, api_key: ApiKeyRecord | None) -> bool:
    match credential.token:
        case Token.NEEDED:
            return True
        case Token.OPTIONAL:
            return False
        case Token.VOUCHED_IF_REQUIRED if services.settings.auth.user_tokens == "optional":
            return False
        case Token.VOUCHED | Token.VOUCHED_IF_REQUIRED:
            return api_key is None or Scope(api_key.scope) is not Scope.STOREFRONT


def _verify(services: Services, token: str, now_ms: int) -> Claims:
    try:
        return services.keys.tokens.verify(token, now_ms)
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


def judge(
    services: Services, endpoint: Endpoint, request: RawRequest, query_token: str | None, meter: Meter
) -> Principal:
    """Who calls. ``query_token`` is the query's ``queue_token``, which counts only if there is no Authorization.

    Refuses as the parts do, in this order: the API key, the rate limit (RATE_LIMITED), the token, the device.
    """
    api_key, sent = None, _NOTHING_SENT
    if _minds_credentials(endpoint, request):
        try:
            api_key = judge_api_key(services, endpoint, request)
        except Refusal:
            meter.count_stray(endpoint)
            raise
        sent = read_token(services, request, query_token, meter.now_ms)
    meter.count_call(endpoint, api_key, sent.claims)
    claims = judge_token(services, endpoint.credential, api_key, sent)
    judge_device(services, claims, request)
    return Principal(api_key=api_key, claims=claims)


def _minds_credentials(endpoint: Endpoint, request: RawRequest) -> bool:
    """Whether credentials are looked at: in the API, and for everything on the operator's TCP listener.

    Health checks and pages for people take no notice of any.
    """
    return endpoint.in_api or request.listener is ListenerKind.OPERATOR_TCP


def _bearer(value: str) -> str:
    """The token of an Authorization header. TOKEN_INVALID if it holds no bearer token."""
    scheme, _, rest = value.partition(" ")
    token = rest.strip()
    if not token or (scheme != "Bearer" and scheme.lower() != "bearer"):
        raise Refusal(ErrorCode.TOKEN_INVALID)
    return token
