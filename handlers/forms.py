"""The form of every reply, whichever endpoint made it: ids, caching, CORS, compression, HEAD.

These are properties of HTTP, the same for all endpoints and all ways of serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config.settings import ServerSettings
from handlers.call import Headers, RawRequest, Reply
from handlers.coding import (
    VARIES,
    accepted_coding,
    compress,
    compressed_headers,
    may_compress,
    weak,
)
from handlers.router import Router
from ticketd.errors import ErrorCode, Refusal

_MAX_AGE: Final = "600"
_EXPOSED: Final = ", ".join(
    (
        "ETag",
        "Idempotency-Replayed",
        "Location",
        "Retry-After",
        "X-Commit-Version",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-Request-ID",
    )
)
_EXPOSES: Final = ("Access-Control-Expose-Headers", _EXPOSED)
_OPEN_TO_ALL: Final = (("Access-Control-Allow-Origin", "*"), _EXPOSES)
_NO_ORIGIN: Final = (("Vary", "Origin"),)
_ALLOWED: Final = ", ".join(
    (
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "X-API-Key",
        "X-Device-ID",
        "X-Request-ID",
        "X-Session-ID",
    )
)
_NO_HEADERS: Final[Mapping[str, str]] = {}
_KEPT_BY_NOBODY: Final = (("Cache-Control", "no-store"),)
_ASKED_ABOUT: Final = (("Cache-Control", "private, no-cache"),)


def finish_reply(
    settings: ServerSettings,
    request: RawRequest,
    reply: Reply,
    request_id: str,
    limit_headers: Headers = (),
) -> Reply:
    """The reply as it goes on the wire: 304 where the client has it, compressed where asked, with its headers.

    A reply that has its own Content-Encoding or ETag header keeps it. ``limit_headers`` tell of the rate limit.
    """
    headers = (*reply.headers, *limit_headers, ("X-Request-ID", request_id))
    if settings.cors_origins:
        headers += _cors(settings, request)
    own = {name.lower(): value for name, value in reply.headers} if reply.headers else _NO_HEADERS
    etag = own.get("etag")
    if "cache-control" not in own:
        headers += _KEPT_BY_NOBODY if etag is None else _ASKED_ABOUT
    coding = None
    if "content-encoding" not in own and may_compress(reply):
        coding = accepted_coding(request.headers.get("accept-encoding", ""))
        headers = (*headers, VARIES) if coding is None else compressed_headers(headers, coding)
    if (
        etag is not None
        and reply.status == 200
        and _matches(request.headers.get("if-none-match"), etag if coding is None else weak(etag))
    ):
        if coding is not None or "content-encoding" in own:
            headers = _without_coding(headers)
        return Reply(status=304, content_type="", headers=headers, kept=reply.kept)
    return Reply(
        status=reply.status,
        body=reply.body if coding is None else compress(reply.body, coding),
        content_type=reply.content_type,
        headers=headers,
        kept=reply.kept,
    )


def preflight_reply(settings: ServerSettings, router: Router, request: RawRequest) -> Reply:
    """The answer to OPTIONS: which methods a path has and, to a browser's preflight, what may be sent.

    Refuses NOT_FOUND for a path that has none.
    """
    methods = ", ".join(router.allowed(request.path, request.listener))
    if not methods:
        raise Refusal(ErrorCode.NOT_FOUND)
    headers = [("Allow", methods)]
    if _allows_origin(settings, request) and "access-control-request-method" in request.headers:
        headers += [
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", _ALLOWED),
            ("Access-Control-Max-Age", _MAX_AGE),
        ]
    return Reply(status=204, content_type="", headers=tuple(headers))


def _allows_origin(settings: ServerSettings, request: RawRequest) -> bool:
    return "*" in settings.cors_origins or request.headers.get("origin") in settings.cors_origins


def _cors(settings: ServerSettings, request: RawRequest) -> Headers:
    if "*" in settings.cors_origins:
        return _OPEN_TO_ALL
    if not _allows_origin(settings, request):
        return _NO_ORIGIN
    return (("Access-Control-Allow-Origin", request.headers["origin"]), _EXPOSES, ("Vary", "Origin"))


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    if if_none_match == etag:
        return True
    wanted = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in wanted or etag.removeprefix("W/") in wanted


def _without_coding(headers: Headers) -> Headers:
    """The headers of a 304: no Content-Encoding, since there is no content."""
    return tuple([header for header in headers if header[0].lower() != "content-encoding"])
