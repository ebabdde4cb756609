"""The way of one request, whoever read it from the wire: route, judge, read, run, and put the answer into form.

Order of judgement: route (404, 405), API key (401), rate limit (429), token (401, 403), device (403), body (413, 415,
400), then what the endpoint finds: ownership (404) and state. Nothing leaves ``begin`` but a finished reply, or
what will give one.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, Protocol

import structlog

from handlers.bodies import BODILESS, parse_query, read_body, read_bytes
from handlers.call import BodyLost, Call, IdempotentRequest, Principal, RawRequest, Reply, is_uuid
from handlers.commit import idempotent_request, keep_reply, scope_partition, stored_reply
from handlers.commit_versions import begin_noting, go_on_noting
from handlers.endpoint import Endpoint
from handlers.errors import error_reply, refusal_of
from handlers.forms import finish_reply, preflight_reply
from handlers.judge import judge
from handlers.metering import Meter
from handlers.router import Route, Router
from handlers.services import Services
from storage.engine import Partition
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id_text

_log = structlog.get_logger("ticketd.requests")
_ours: Final = logging.getLogger("ticketd")
"""Its level is that of all our lines. Before the logs are set up it has none, and whoever listens gets every line."""

_NO_QUERY: Final[Mapping[str, str]] = {}
_SESSION_ID: Final = re.compile(r"[\x20-\x7e]{0,128}")


class _Run(Protocol):
    """Runs an endpoint with a body, for a request with an Idempotency-Key or for one without."""

    def __call__(
        self, raw: bytes, idempotent: IdempotentRequest | None = None
    ) -> Reply | Awaitable[Reply]: ...


_RunOnce = Callable[[IdempotentRequest], Reply | Awaitable[Reply]]


class Server:
    """Answers requests out of the table of endpoints."""

    def __init__(self, services: Services, router: Router) -> None:
        self._services = services
        self.router = router

    async def answer_request(self, request: RawRequest) -> Reply:
        """The finished reply to a request. Raises only BodyLost, and what cancels the task."""
        return await _reply(self.begin(request))

    def begin(self, request: RawRequest, route: Route | None = None) -> Reply | Awaitable[Reply]:
        """The finished reply where nothing has to be waited for; else what gives it, as ``answer_request`` does.
        ``route`` is where the request leads, if that is known already."""
        seen = _Seen(self._services, request, route)
        try:
            reply = self._run(seen)
        except Exception as failure:
            reply = self._refused(seen, failure)
        return self._finish(seen, reply) if isinstance(reply, Reply) else self._finish_later(seen, reply)

    async def _finish_later(self, seen: _Seen, answering: Awaitable[Reply]) -> Reply:
        if seen.noted is not None:
            # It may have been begun in another task.
            go_on_noting(seen.noted)
        try:
            reply = await answering
        except BodyLost:
            raise
        except Exception as failure:
            reply = self._refused(seen, failure)
        return self._finish(seen, reply)

    def _refused(self, seen: _Seen, failure: Exception) -> Reply:
        refusal = refusal_of(failure)
        if refusal.code is ErrorCode.INTERNAL_ERROR:
            _log.error("request failed", exc_info=failure, request_id=seen.request_id, route=seen.path)
        return error_reply(refusal, seen.request_id, self._services.clock.now_ms())

    def _finish(self, seen: _Seen, reply: Reply) -> Reply:
        # Outside of what is kept for a repetition: each answer tells of its own call.
        headers = seen.meter.headers if seen.noted is None else (*seen.meter.headers, *seen.noted.headers())
        reply = finish_reply(self._services.settings.server, seen.request, reply, seen.request_id, headers)
        self._record(seen, reply, time.perf_counter() - seen.started)
        return reply

    def _run(self, seen: _Seen) -> Reply | Awaitable[Reply]:
        services, request, route = self._services, seen.request, seen.route
        if route is None:
            if request.method == "OPTIONS":
                return preflight_reply(services.settings.server, self.router, request)
            route = seen.route = self._find(request, seen.meter)
        endpoint = route.endpoint
        query, unreadable = _query(request) if request.query else (_NO_QUERY, None)
        principal = seen.principal = judge(services, endpoint, request, query.get("queue_token"), seen.meter)
        is_called = bool(endpoint.credential.scopes)
        if unreadable is not None and (is_called or endpoint.query is not None):
            raise unreadable
        session_id = _session_id(request) if is_called else ""

        def run(raw: bytes, idempotent: IdempotentRequest | None = None) -> Reply | Awaitable[Reply]:
            call = Call(
                principal=principal,
                body=read_body(endpoint, request, raw),
                raw=raw,
                path=route.parameters,
                query=query,
                headers=request.headers,
                request_id=seen.request_id,
                session_id=session_id,
                client=seen.meter.address,
                listener=request.listener,
                idempotent=idempotent,
            )
            return endpoint.function(services, call)

        if request.method in BODILESS:
            return run(b"")
        return self._read_and_run(seen, endpoint, principal, run)

    async def _read_and_run(self, seen: _Seen, endpoint: Endpoint, principal: Principal, run: _Run) -> Reply:
        request = seen.request
        raw = await read_bytes(request, _body_limit(self._services, endpoint))
        key = request.headers.get("idempotency-key") if endpoint.idempotent else None
        if key is None:
            return await _reply(run(raw))
        try:
            once = idempotent_request(endpoint, principal, key, request.path, raw)
        except Refusal:
            # What is wrong with the body is told before what is wrong with the key.
            read_body(endpoint, request, raw)
            raise
        return await self._run_once(partial(run, raw), once, scope_partition(principal), seen.request_id)

    def _find(self, request: RawRequest, meter: Meter) -> Route:
        try:
            return self.router.find(request.method, request.path, request.listener)
        except Refusal:
            meter.count_stray()
            raise

    async def _run_once(
        self, run: _RunOnce, once: IdempotentRequest, scope: Partition, request_id: str
    ) -> Reply:
        """Runs an idempotent request unless its outcome is kept already. Refuses IDEMPOTENCY_KEY_IN_USE."""
        services = self._services
        if once.digest in services.running_requests:
            raise Refusal(ErrorCode.IDEMPOTENCY_KEY_IN_USE)
        with services.engine.snapshot(scope) as view:
            kept = stored_reply(view, scope, once, view.now_ms)
        if kept is not None:
            return kept
        services.running_requests.add(once.digest)
        try:
            try:
                reply = await _reply(run(once))
            except Refusal as refusal:
                reply = error_reply(refusal, request_id, services.clock.now_ms())
            await keep_reply(services, scope, once, reply)
            return reply
        finally:
            services.running_requests.discard(once.digest)

    def _record(self, seen: _Seen, reply: Reply, seconds: float) -> None:
        request = seen.request
        self._services.metrics.request_answered(seen.path, request.method, reply.status, seconds)
        # A line that nobody writes is not made either: it would cost as much as all the rest of the answer.
        if _ours.level > logging.INFO:
            return
        claims = seen.principal.claims if seen.principal else None
        api_key = seen.principal.api_key if seen.principal else None
        _log.info(
            "request",
            method=request.method if seen.route else request.method[:10],
            route=seen.path,
            status=reply.status,
            milliseconds=round(seconds * 1000, 2),
            request_id=seen.request_id,
            session_id=request.headers.get("x-session-id", "")[:128],
            user_id=str(claims.user_id) if claims else None,
            key_id=api_key.key_id if api_key else None,
        )


class _Seen:
    """A request, and what was found out about it by the time it was answered."""

    __slots__ = ("meter", "noted", "principal", "request", "request_id", "route", "started")

    def __init__(self, services: Services, request: RawRequest, route: Route | None) -> None:
        self.started = time.perf_counter()
        self.request = request
        self.request_id = _request_id(request)
        self.meter = Meter(services, request)
        self.noted = begin_noting() if services.settings.server.commit_header else None
        self.route = route
        self.principal: Principal | None = None

    @property
    def path(self) -> str:
        """The path as the table has it, so that no id becomes a metric's label."""
        return self.route.endpoint.path if self.route else "(none)"


async def _reply(given: Reply | Awaitable[Reply]) -> Reply:
    return given if isinstance(given, Reply) else await given


def _query(request: RawRequest) -> tuple[Mapping[str, str], Refusal | None]:
    """The query's fields, and how it is to be refused if it cannot be read: that comes after who calls."""
    try:
        return parse_query(request.query), None
    except Refusal as refusal:
        return {}, refusal


def _body_limit(services: Services, endpoint: Endpoint) -> int:
    server = services.settings.server
    return server.operator_max_body_bytes if endpoint.large else server.max_body_bytes


def _request_id(request: RawRequest) -> str:
    given = request.headers.get("x-request-id")
    return given.lower() if given is not None and is_uuid(given) else new_id_text()


def _session_id(request: RawRequest) -> str:
    """X-Session-ID, opaque: at most 128 printable characters, else INVALID_REQUEST."""
    value = request.headers.get("x-session-id")
    if value is None:
        return ""
    if not _SESSION_ID.fullmatch(value):
        raise Refusal(
            ErrorCode.INVALID_REQUEST,
            details={"header": "X-Session-ID", "problem": "at most 128 printable characters are allowed"},
        )
    return value
