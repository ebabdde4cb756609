"""Who may open a WebSocket. Frames and sockets are the front's, what is said ``handlers.realtime_session``'s.

An upgrade is judged as every call is: route, API key if one is sent, rate limit, origin, token, device.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import structlog
from msgspec.structs import replace

from handlers.bodies import parse_query
from handlers.call import AnyCall, ListenerKind, RawRequest, Reply, parse_uuid
from handlers.endpoint import OPEN, Endpoint
from handlers.errors import ErrorAnswer, error_reply, refusal_of
from handlers.forms import finish_reply
from handlers.judge import DEVICE_HEADER, judge_api_key, read_token
from handlers.metering import Meter
from handlers.realtime_session import RealtimeSession
from handlers.services import Services
from handlers.websocket import UpgradeAccepted, UpgradeRefused, UpgradeRequest
from handlers.wire.realtime import OpenRealtime
from ticketd.credentials.claims import Claims
from ticketd.credentials.devices import FingerprintInvalid, hash_device, same_device
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.rate_limits.classes import RateClass

PATH: Final = "/v1/realtime"
SUBPROTOCOL: Final = "ticketd.v1"
BEARER_PREFIX: Final = "bearer."

_log = structlog.get_logger("ticketd.requests")
_BOUND_KINDS: Final = frozenset({TokenKind.QUEUE, TokenKind.ACCESS})


async def open_realtime(services: Services, call: AnyCall) -> Reply:
    """426: updates come over a WebSocket. Ask for one with ``Upgrade: websocket`` (RFC 6455); a token goes into the
    query as ``token``, into ``Authorization``, or beside the subprotocol ``ticketd.v1`` as ``bearer.TOKEN``."""
    refusal = Refusal(ErrorCode.INVALID_REQUEST, "Updates come over a WebSocket: ask for an upgrade.")
    reply = error_reply(refusal, call.request_id, services.clock.now_ms())
    return replace(reply, status=426, headers=(*reply.headers, ("Upgrade", "websocket")))


REALTIME_ENDPOINT: Final = Endpoint(
    method="GET",
    path=PATH,
    function=open_realtime,
    part="realtime",
    summary="Open a WebSocket for updates as they happen",
    credential=OPEN,
    rate=RateClass.REALTIME,
    query=OpenRealtime,
    answer=ErrorAnswer,
    status=426,
    # Of an upgrade; a call without one gives none of them.
    errors=(ErrorCode.TOKEN_MISSING, ErrorCode.DEVICE_MISMATCH, ErrorCode.SCOPE_MISSING),
)


class _Sent(NamedTuple):
    """The token that counts, and all that were sent, each of which must be good."""

    claims: Claims
    tokens: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """What was found out about an upgrade by the time it was answered."""

    meter: Meter
    request_id: str
    claims: Claims | None = None


class RealtimeApp:
    """The application behind the public listener's WebSockets."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def open_websocket(self, request: UpgradeRequest) -> UpgradeAccepted | UpgradeRefused:
        """Judges a request for a WebSocket.

        Refuses in this order: NOT_FOUND; API_KEY_INVALID; RATE_LIMITED; INVALID_REQUEST for a query that cannot be
        read; SCOPE_MISSING for a browser's page of an origin that is not allowed; TOKEN_MISSING, TOKEN_INVALID or
        TOKEN_EXPIRED; DEVICE_MISMATCH for a ``device_id`` that is sent and another.
        """
        started = time.perf_counter()
        services, raw = self._services, _raw_request(request)
        request_id = str(parse_uuid(request.headers.get("x-request-id", "")) or new_id())
        seen = _Seen(Meter(services, raw), request_id)
        try:
            session = self._judge(request, raw, seen)
        except Exception as failure:
            refusal = refusal_of(failure)
            if refusal.code is ErrorCode.INTERNAL_ERROR:
                _log.exception("upgrade failed", request_id=request_id)
            reply = error_reply(refusal, request_id, services.clock.now_ms())
            reply = finish_reply(services.settings.server, raw, reply, request_id, seen.meter.headers)
            self._record(seen, reply.status, started)
            headers = (("Content-Type", reply.content_type), *reply.headers)
            return UpgradeRefused(status=reply.status, headers=headers, body=reply.body)
        self._record(seen, 101, started)
        chosen = SUBPROTOCOL if SUBPROTOCOL in request.subprotocols else None
        return UpgradeAccepted(
            session=session, subprotocol=chosen, headers=(*seen.meter.headers, ("X-Request-ID", request_id))
        )

    def _judge(self, request: UpgradeRequest, raw: RawRequest, seen: _Seen) -> RealtimeSession:
        services = self._services
        if request.path != PATH:
            seen.meter.count_stray()
            raise Refusal(ErrorCode.NOT_FOUND)
        try:
            api_key = judge_api_key(services, REALTIME_ENDPOINT, raw)
        except Refusal:
            seen.meter.count_stray()
            raise
        query, problem = _query(request)
        sent = self._read_tokens(request, raw, query)
        seen.claims = sent.claims if isinstance(sent, _Sent) else None
        seen.meter.count_call(REALTIME_ENDPOINT, api_key, seen.claims)
        if problem is not None:
            raise problem
        self._check_origin(request)
        if isinstance(sent, Refusal):
            raise sent
        self._check_device(sent.claims, query.get("device_id", request.headers.get(DEVICE_HEADER)))
        return RealtimeSession(services, sent.claims, sent.tokens, seen.request_id)

    def _read_tokens(
        self, request: UpgradeRequest, raw: RawRequest, query: dict[str, str]
    ) -> _Sent | Refusal:
        """What the token says that counts: that of the header, else of the subprotocol, else of the query."""
        offered = [
            text.removeprefix(BEARER_PREFIX)
            for text in request.subprotocols
            if text.startswith(BEARER_PREFIX)
        ]
        found: list[tuple[str, Claims]] = []
        now_ms = self._services.clock.now_ms()
        for text in (None, *offered, query.get("token")):
            # The header's token is read by the same hand as every call's; the others stand in for a header.
            value = request.headers.get("authorization") if text is None else f"Bearer {text}"
            if value is None or (text is None and "authorization" not in request.headers):
                continue
            read = read_token(self._services, replace(raw, headers={"authorization": value}), None, now_ms)
            if read.refusal is not None:
                return read.refusal
            if read.claims is not None:
                found.append((value.partition(" ")[2].strip(), read.claims))
        if not found:
            return Refusal(ErrorCode.TOKEN_MISSING)
        return _Sent(found[0][1], tuple(text for text, _ in found))

    def _check_origin(self, request: UpgradeRequest) -> None:
        """Where origins are configured, pages of others may not open a WebSocket: browsers do not ask before."""
        allowed, origin = self._services.settings.server.cors_origins, request.headers.get("origin")
        if not allowed or "*" in allowed or origin is None or origin in allowed:
            return
        if urlsplit(origin).netloc != request.headers.get("host"):
            details = {"origin": origin[:200]}
            raise Refusal(
                ErrorCode.SCOPE_MISSING, "Pages of this origin are not allowed here.", details=details
            )

    def _check_device(self, claims: Claims, sent: str | None) -> None:
        binding = self._services.settings.auth.device_binding
        if claims.kind not in _BOUND_KINDS or claims.device_hash is None or binding == "off" or sent is None:
            return
        try:
            matches = same_device(hash_device(sent), claims.device_hash)
        except FingerprintInvalid:
            matches = False
        if not matches:
            raise Refusal(ErrorCode.DEVICE_MISMATCH, details={"query": "device_id"})

    def _record(self, seen: _Seen, status: int, started: float) -> None:
        seconds = time.perf_counter() - started
        self._services.metrics.request_answered(PATH, "GET", status, seconds)
        _log.info(
            "upgrade",
            method="GET",
            route=PATH,
            status=status,
            milliseconds=round(seconds * 1000, 2),
            request_id=seen.request_id,
            user_id=str(seen.claims.user_id) if seen.claims else None,
        )


def _raw_request(request: UpgradeRequest) -> RawRequest:
    async def read_body(_: int) -> bytes:
        return b""

    return RawRequest(
        method="GET",
        path=request.path,
        query=request.query,
        headers=request.headers,
        client=request.client,
        listener=ListenerKind.PUBLIC,
        read_body=read_body,
    )


def _query(request: UpgradeRequest) -> tuple[dict[str, str], Refusal | None]:
    try:
        return parse_query(request.query), None
    except Refusal as refusal:
        return {}, refusal
