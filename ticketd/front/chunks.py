"""The chunked coding of a request's body (RFC 9112, section 7.1), read strictly: no extension is kept, no trailer is
passed on, every line ends in CRLF."""

from __future__ import annotations

import re
from typing import Final

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_CRLF: Final = b"\r\n"
MOST_LINE_BYTES: Final = 1024
MOST_TRAILER_BYTES: Final = 4096


class ChunkFault(Exception):
    """The bytes are no chunked body."""


class ChunkedBody:
    """Takes a chunked body out of what comes in. ``ended`` becomes true with its last byte."""

    __slots__ = ("_at", "_held", "_is_faulty", "_left", "_trailer_bytes", "ended")

    def __init__(self) -> None:
        self.ended = False
        self._is_faulty = False
        self._held = b""
        self._at = 0
        """How much of what is held was taken."""
        self._left: int | None = None
        """What is still to come of a chunk and the CRLF behind it; None before a size line, -1 in the trailer."""
        self._trailer_bytes = 0

    @property
    def rest(self) -> bytes:
        """What came in behind the body's end."""
        return self._held if self.ended else b""

    def feed(self, data: bytes) -> bytes:
        """The part of the body that ``data`` brings. Raises ChunkFault, and from then on always: behind a fault nobody
        can tell what is body and what is another request."""
        if self._is_faulty:
            raise ChunkFault
        self._held += data
        found: list[bytes] = []
        try:
            while not self.ended and (piece := self._take()) is not None:
                found.append(piece)
        except ChunkFault:
            self._is_faulty = True
            raise
        self._held = self._held[self._at :]
        self._at = 0
        return b"".join(found)

    def _take(self) -> bytes | None:
        """The next piece, perhaps empty; None if more has to come in."""
        if self._left is None:
            return self._take_size()
        if self._left < 0:
            return self._take_trailer()
        if self._left > len(_CRLF):
            piece = self._held[self._at : self._at + self._left - len(_CRLF)]
            self._at += len(piece)
            self._left -= len(piece)
            return piece or None
        end = self._held[self._at : self._at + len(_CRLF)]
        if not _CRLF.startswith(end):
            raise ChunkFault
        if len(end) < len(_CRLF):
            return None
        self._at += len(_CRLF)
        self._left = None
        return b""

    def _take_size(self) -> bytes | None:
        line = self._take_line(MOST_LINE_BYTES)
        if line is None:
            return None
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ChunkFault
        size = int(match[1], 16)
        self._left = size + len(_CRLF) if size else -1
        return b""

    def _take_trailer(self) -> bytes | None:
        line = self._take_line(MOST_TRAILER_BYTES - self._trailer_bytes)
        if line is None:
            return None
        self._trailer_bytes += len(line) + len(_CRLF)
        if not line:
            self.ended = True
        elif _TRAILER_LINE.fullmatch(line) is None:
            raise ChunkFault
        return b""

    def _take_line(self, most_bytes: int) -> bytes | None:
        end = self._held.find(_CRLF, self._at)
        line = self._held[self._at : end] if end >= 0 else self._held[self._at :]
        if end < 0:
            # Perhaps the first half of its end.
            line = line.removesuffix(b"\r")
        if len(line) > most_bytes or b"\n" in line or b"\r" in line:
            raise ChunkFault
        if end < 0:
            return None
        self._at = end + len(_CRLF)
        return line
