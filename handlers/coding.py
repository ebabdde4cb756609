"""Replies in other codings: which one a client takes, whether it is worth it, the tags and headers that go with it."""

from __future__ import annotations

import functools
import gzip
import hashlib
from typing import Final

import zstandard

from handlers.call import Headers, Reply

MIN_COMPRESSED_BYTES: Final = 1024
MAX_COMPRESSED_BYTES: Final = 8 * 1024 * 1024
"""A longer body goes as it is: compressing it would hold up everybody else."""
_GZIP_LEVEL: Final = 4
_ZSTD_LEVEL: Final = 3
VARIES: Final = ("Vary", "Accept-Encoding")
CODINGS_KEPT: Final = 256
"""Browsers send a score of different Accept-Encoding headers."""
LONGEST_KEPT: Final = 256
_COMPRESSIBLE: Final = ("application/json", "text/", "application/javascript", "image/svg")


def etag_of(*parts: object) -> str:
    """A strong ETag out of what the body depends on."""
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"'


def accepted_coding(header: str) -> str | None:
    """zstd or gzip, by what an Accept-Encoding header prefers; None for neither (RFC 9110, section 12.5.3)."""
    return kept_coding(header) if len(header) <= LONGEST_KEPT else _read_coding(header)


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


kept_coding: Final = functools.lru_cache(maxsize=CODINGS_KEPT)(_read_coding)
"""The same, remembered for the headers that were read last."""


def compress(body: bytes, coding: str) -> bytes:
    """``body`` in ``gzip`` or ``zstd``. The gzip header carries no time, so equal bodies give equal bytes."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


def weak(etag: str) -> str:
    """The tag of the same content in other bytes (RFC 9110, section 8.8.1)."""
    return etag if etag.startswith("W/") else f"W/{etag}"


def compressed_headers(headers: Headers, coding: str) -> Headers:
    """The headers of the same reply in ``coding``: a tag of it is weak then, since the bytes are others."""
    kept = tuple((name, weak(value) if name.lower() == "etag" else value) for name, value in headers)
    return (*kept, VARIES, ("Content-Encoding", coding))


def may_compress(reply: Reply) -> bool:
    """Whether compressing the reply is worth it, and allowed."""
    return (
        reply.status == 200
        and MIN_COMPRESSED_BYTES <= len(reply.body) <= MAX_COMPRESSED_BYTES
        and reply.content_type.startswith(_COMPRESSIBLE)
    )
