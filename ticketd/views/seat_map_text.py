"""A seat map as it goes on the wire: joined out of its pieces, compressed, and with its tag.

True here: the same pieces and coding give the same bytes, and the same bytes the same tag, whoever makes them and in
which thread. What stands in the pieces is ``ticketd.views.event_seats``'s; when they are made is not known here.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import zstandard

Coding = Literal["zstd", "gzip"]

MIN_COMPRESSED_BYTES: Final = 1024

_ZSTD_LEVEL: Final = 1
_GZIP_LEVEL: Final = 1


class SeatMapText(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it goes on the wire. ``coding`` is None where compressing was not asked for, or not worth it."""

    body: bytes
    coding: Coding | None
    etag: str


class TextMaker:
    """Makes texts. One is for one thread at a time.

    Of a large text, joining, compressing and hashing all release the interpreter's lock.
    """

    __slots__ = ("_compressor",)

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)

    def make(self, pieces: Sequence[bytes], codings: Sequence[Coding | None]) -> list[SeatMapText]:
        """The text in each of the codings."""
        body = b"".join(pieces)
        return [self._coded(body, coding) for coding in codings]

    def _coded(self, body: bytes, coding: Coding | None) -> SeatMapText:
        if len(body) < MIN_COMPRESSED_BYTES:
            coding = None
        if coding == "zstd":
            body = self._compressor.compress(body)
        elif coding == "gzip":
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        # Out of the very bytes, version and filters and coding among them: what differs has another tag.
        etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        return SeatMapText(body=body, coding=coding, etag=etag)
