"""The form of every reply, whichever endpoint made it: ids, caching, CORS, compression, HEAD.

These are properties of HTTP, the same for all endpoints and all ways of serving.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Mapping
from typing import Final

import zstandard

from config.settings import ServerSettings
from handlers.call import Headers, RawRequest, Reply
from handlers.router import Router
from ticketd.errors import ErrorCode, Refusal

MIN_COMPRESSED_BYTES: Final = 1024
MAX_COMPRESSED_BYTES: Final = 8 * 1024 * 1024
"""A longer body goes as it is: compressing it would hold up everybody else."""
_GZIP_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3
_MAX_AGE: Final = "600"
_EXPOSED: Final = ", ".join(
    (
        "ETag",
        "Idempotency-Replayed",
        "Location",
        "Retry-After",
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
_NOT_KEPT: Final = ("Cache-Control", "no-store")
_ASKED_ABOUT: Final = ("Cache-Control", "private, no-cache")
_VARIES: Final = ("Vary", "Accept-Encoding")
_CODINGS_KEPT: Final = 256
"""Browsers send a score of different Accept-Encoding headers."""
_LONGEST_KEPT: Final = 256
_COMPRESSIBLE: Final = ("application/json", "text/", "application/javascript", "image/svg")


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
    own = {name.lower(): value for name, value in reply.headers} if reply.headers else _NO_HEADERS
    headers = (*reply.headers, *limit_headers, ("X-Request-ID", request_id), *_cors(settings, request))
    etag = own.get("etag")
    if "cache-control" not in own:
        headers = (*headers, _NOT_KEPT if etag is None else _ASKED_ABOUT)
    coding = None
    if "content-encoding" not in own and _may_compress(reply):
        headers = (*headers, _VARIES)
        coding = accepted_coding(request.headers.get("accept-encoding", ""))
    if etag is not None:
        if coding is not None:
            etag = _weak(etag)
            headers = tuple((name, etag if name.lower() == "etag" else value) for name, value in headers)
        if reply.status == 200 and _matches(request.headers.get("if-none-match"), etag):
            return Reply(status=304, content_type="", headers=_without(headers), kept=reply.kept)
    if coding is None:
        return Reply(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=headers,
            kept=reply.kept,
        )
    return Reply(
        status=reply.status,
        body=compress(reply.body, coding),
        content_type=reply.content_type,
        headers=(*headers, ("Content-Encoding", coding)),
        kept=reply.kept,
    )


def etag_of(*parts: object) -> str:
    """A strong ETag out of what the body depends on."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def accepted_coding(header: str) -> str | None:
    """zstd or gzip, by what an Accept-Encoding header prefers; None for neither (RFC 9110, section 12.5.3)."""
    return _kept_coding(header) if len(header) <= _LONGEST_KEPT else _read_coding(header)


def _read_coding(header: str) -> str | None:
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weight = 1.0
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    rest = weights.get("*", 0.0)
    best = max(("zstd", "gzip"), key=lambda name: weights.get(name, rest))
    return best if weights.get(best, rest) > 0 else None


_kept_coding: Final = functools.lru_cache(maxsize=_CODINGS_KEPT)(_read_coding)


def compress(body: bytes, coding: str) -> bytes:
    """``body`` in ``gzip`` or ``zstd``. The gzip header carries no time, so equal bodies give equal bytes."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


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
    if not settings.cors_origins:
        return ()
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


def _weak(etag: str) -> str:
    """The tag of the same content in other bytes (RFC 9110, section 8.8.1)."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def _without(headers: Headers) -> Headers:
    """The headers of a 304: no Content-Encoding, since there is no content."""
    return tuple((name, value) for name, value in headers if name.lower() != "content-encoding")


def _may_compress(reply: Reply) -> bool:
    return (
        reply.status == 200
        and MIN_COMPRESSED_BYTES <= len(reply.body) <= MAX_COMPRESSED_BYTES
        and reply.content_type.startswith(_COMPRESSIBLE)
    )
