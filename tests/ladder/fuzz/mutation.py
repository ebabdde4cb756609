"""Seeded changes of what is right: of bytes, of the lines of a head, of JSON documents; the product is unknown here."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

NASTY_BYTES: Final = (
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xc3\x28",
    b"\xf0\x9f\x8e\xab",
    b" ",
    b"\t",
    b":",
    b"%00",
    b"%ff",
    b"%2e%2e%2f",
    b"//",
    b"?" * 9,
    b"A" * 300,
    b"A" * 20_000,
    b"0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
    b"-1",
    b"18446744073709551616",
)
NASTY_LINES: Final = (
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length: -1",
    b"Content-Length: +7",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 4, 4",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding : chunked",
    b" folded: line",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Connection: close",
    b"Connection: keep-alive, \xff",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"HTTP2-Settings: A",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Protocol: \xff",
    b"Sec-WebSocket-Extensions: \xff",
    b"Content-Type: text/plain",
    b"Content-Type: application/json; charset=utf-16",
    b"Content-Encoding: gzip",
    b"Accept-Encoding: gzip;q=nan, zstd;q=2, *;q=-1",
    b"If-None-Match: *",
    b'If-None-Match: W/"x", "',
    b"X-Forwarded-For: 1.2.3.4, \xff",
    b'Forwarded: for="[::1]"',
    b"X-Request-ID: not-a-uuid",
    b"X-Session-ID: \x7f",
    b"Idempotency-Key: short",
    b"Idempotency-Key: " + b"k" * 129,
    b"Origin: null",
    b"Range: bytes=0-0,-1",
    b"Host: b",
    b"Host:",
    b"Authorization: Bearer",
    b"Authorization: Basic Og==",
    b"Cookie: " + b"c=1; " * 2000,
    b"TE: trailers",
    b"Trailer: Content-Length",
    b": nameless",
    b"X\x00Y: z",
)
NASTY_METHODS: Final = (
    b"get",
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"G\xc3\x8bT",
    b"GET " * 3,
    b"M" * 300,
)
NASTY_VERSIONS: Final = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"", b"HTTP/1.1 x")
NASTY_VALUES: Final[tuple[object, ...]] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**64,
    10**30,
    0.5,
    1e308,
    "",
    " ",
    "0",
    "-1",
    "1e999999",
    "NaN",
    "\x00",
    "\ud7ff\ue000",
    "a" * 300,
    "a" * 70_000,
    "\u202e\u0301" * 10,
    "2027-02-30T25:61:61Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "00000000-0000-0000-0000-000000000000",
    "../../etc/passwd",
    "javascript:alert(1)",
    [],
    {},
    [[[[[[]]]]]],
    {"": {"": {"": None}}},
)


def change_bytes(chance: random.Random, data: bytes) -> bytes:
    """One to four changes of bytes, anywhere."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        end = min(at + chance.choice((1, 1, 2, 8, 64)), len(changed))
        match chance.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at:end] = b""
            case 2:
                changed[at:at] = changed[at:end] * chance.randint(1, 8)
            case 3:
                changed[at:end] = chance.randbytes(chance.randint(1, 8))
            case 4:
                changed[at:] = b""
            case _:
                changed[at:at] = chance.choice(NASTY_BYTES)
    return bytes(changed)


def change_head(chance: random.Random, request: bytes) -> bytes:
    """One to three changes of the lines of a request's head; its body stays."""
    head, end, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        match chance.randrange(8):
            case 0:
                lines.insert(max(at, 1), chance.choice(NASTY_LINES))
            case 1:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 2 if len(lines) > 1:
                del lines[at]
            case 3:
                lines[at] = change_bytes(chance, lines[at])
            case 4:
                lines[0] = b" ".join([chance.choice(NASTY_METHODS), *lines[0].split(b" ")[1:]])
            case 5:
                lines[0] = b" ".join([*lines[0].split(b" ")[:2], chance.choice(NASTY_VERSIONS)])
            case 6:
                lines[at] = lines[at].swapcase()
            case _:
                parts = lines[0].split(b" ")
                lines[0] = b" ".join([parts[0], change_bytes(chance, b" ".join(parts[1:-1])), parts[-1]])
    return b"\r\n".join(lines) + end + body


def in_chunks(chance: random.Random, request: bytes) -> bytes:
    """The same request with its body in chunks, of which some may be wrong."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    chunks = b""
    while body:
        size = chance.randint(1, len(body))
        said = size if chance.random() < 0.9 else size + chance.choice((-1, 1, 16))
        extension = chance.choice((b"", b"", b"", b";a=b", b";" + b"x" * 500, b" "))
        form = chance.choice(
            ("{:x}",) * 12 + ("{:X}", "000{:x}", "0x{:x}", "+{:x}", "-{:x}", "{:x}_0", " {:x}", "")
        )
        chunks += form.format(max(said, 0)).encode() + extension + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailer = chance.choice((b"", b"", b"A: b\r\n", b"Content-Length: 9\r\n"))
    return (
        b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""])
        + chunks
        + b"0\r\n"
        + trailer
        + b"\r\n"
    )


def change_document(chance: random.Random, document: object) -> object:
    """One to three changes of the values, members and places of a JSON document."""
    changed = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        changed = _change_once(chance, changed, document)
    return changed


def _change_once(chance: random.Random, value: object, whole: object) -> object:
    """Goes down to some place, and changes it there."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(sorted(value))
        match chance.randrange(8):
            case 0:
                del value[name]
            case 1:
                value[chance.choice((name + "x", "", "\x00", name.upper(), "__proto__"))] = value[name]
            case _:
                value[name] = _change_once(chance, value[name], whole)
        return value
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                del value[at]
            case 1:
                value.insert(at, copy.deepcopy(value[at]))
            case 2:
                value.reverse()
            case _:
                value[at] = _change_once(chance, value[at], whole)
        return value
    if isinstance(value, str) and value and chance.random() < 0.4:
        at = chance.randrange(len(value))
        return (
            value[:at]
            + chance.choice(("", "\x00", "é", " ", "-", "9", "\U0001f3ab", "\u2028"))
            + value[at + 1 :]
        )
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.4:
        return value + chance.choice((-1, 1, 1000, -value, 2**53))
    return copy.deepcopy(chance.choice(NASTY_VALUES))


def in_pieces(chance: random.Random, data: bytes) -> Sequence[bytes]:
    """The same bytes, in one to four pieces."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
    edges = [0, *cuts, len(data)]
    return [piece for at, end in pairwise(edges) if (piece := data[at:end])]
