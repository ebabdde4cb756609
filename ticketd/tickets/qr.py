"""Ticket codes as QR pictures: PNG, black on white, error correction M (15 % of the symbol may be damaged).

A ticket code makes a symbol of 45 × 45 modules, a picture of 318 × 318 pixels and about 750 bytes. What the
text means is for ``code``. Pictures are kept in a bounded cache, since a buyer's screen asks for the same few
again and again.
"""

from __future__ import annotations

import base64
import functools
import struct
import zlib
from typing import Final

import segno

QUIET_ZONE_MODULES: Final = 4
"""The white margin that ISO/IEC 18004 asks for."""

CACHED_PICTURES: Final = 4096

_TARGET_PIXELS: Final = 300
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

# The standard's search for the best of the eight masks takes most of the time of making a symbol. It pays for
# data with patterns in it; a ticket code is a signature for the greater part, as good as noise, and every
# mask leaves noise as it is.
_MASK: Final = 3


@functools.lru_cache(maxsize=CACHED_PICTURES)
def qr_png(text: str) -> bytes:
    """The PNG of a text's QR symbol, about 300 pixels a side; ValueError if it is too long for a symbol."""
    modules = qr_modules(text)
    scale = max(1, round(_TARGET_PIXELS / len(modules)))
    row_bytes = -(-len(modules) * scale // 8)
    rows = bytearray()
    for row in modules:
        pixels = "".join(("0" if dark else "1") * scale for dark in row).ljust(row_bytes * 8, "1")
        # Each row begins with its filter type, 0: none.
        rows += (b"\x00" + int(pixels, 2).to_bytes(row_bytes, "big")) * scale
    side = len(modules) * scale
    # One bit a pixel, grey: no palette, no alpha, not interlaced.
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def qr_png_base64(text: str) -> str:
    """The PNG of a text's QR symbol in standard base64."""
    return base64.b64encode(qr_png(text)).decode("ascii")


def qr_modules(text: str) -> list[list[bool]]:
    """The modules of a text's QR symbol by row, its quiet zone around it; True is dark."""
    symbol = segno.make_qr(text, error="m", mask=_MASK)
    margin = [False] * QUIET_ZONE_MODULES
    rows = [margin + [bool(module) for module in row] + margin for row in symbol.matrix]
    blank = [[False] * len(rows[0]) for _ in range(QUIET_ZONE_MODULES)]
    return [*blank, *rows, *blank]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
