"""Requests that end a stock server, that are none, or that two readers read in two ways, each by its name."""

from __future__ import annotations

import base64
from typing import Final

from tests.front.raw_http import GET

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n"
)
PRIOR_KNOWLEDGE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def headers_frame(block: bytes, *, ended: bool = True) -> bytes:
    flags = b"\x05" if ended else b"\x04"
    return len(block).to_bytes(3, "big") + b"\x01" + flags + (1).to_bytes(4, "big") + block


def literal(name: bytes, value: bytes) -> bytes:
    """One header in HPACK, neither indexed nor compressed (RFC 7541 section 6.2.2), under 127 bytes."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2(*frames: bytes) -> bytes:
    return PRIOR_KNOWLEDGE + SETTINGS_FRAME + b"".join(frames)


PSEUDO = literal(b":method", b"GET") + literal(b":scheme", b"http") + literal(b":authority", b"a")
PRIORITY_FRAME = b"\x00\x00\x05\x02\x00\x00\x00\x00\x01\x00\x00\x00\x00\x10"
DATA_FRAME = b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x"

WEBSOCKET_UPGRADES = {
    "plain": UPGRADE + b"Connection: Upgrade\r\n\r\n",
    "several connection headers": UPGRADE + b"Connection: keep-alive\r\nConnection: x, upgrade\r\n\r\n",
    "non-ASCII protocol": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Protocol: caf\xe9\r\n\r\n",
    "non-ASCII extensions": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Extensions: \xff\r\n\r\n",
    "non-ASCII connection": UPGRADE + b"Connection: Upgrade, \xe9\r\n\r\n",
    "deflate": UPGRADE + b"Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    "no key": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a byte after it": UPGRADE + b"Connection: Upgrade\r\n\r\nx",
    "a frame after it": UPGRADE + b"Connection: Upgrade\r\n\r\n\x81\x85\x00\x00\x00\x00hello",
    "a body": UPGRADE + b"Connection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
    "a bad body": UPGRADE + b"Connection: Upgrade\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "another request after it": UPGRADE + b"Connection: Upgrade\r\n\r\n" + GET,
}

PRIOR_KNOWLEDGE_REQUESTS = {
    "only the preface": PRIOR_KNOWLEDGE,
    "only its first line": b"PRI * HTTP/2.0\r\n\r\n",
    "CONNECT without a path": http2(
        headers_frame(literal(b":method", b"CONNECT") + literal(b":authority", b"a"))
    ),
    "non-ASCII path": http2(headers_frame(PSEUDO + literal(b":path", b"/\xe9"))),
    "non-ASCII method": http2(
        headers_frame(literal(b":method", b"G\xe9T") + literal(b":scheme", b"http") + literal(b":path", b"/"))
    ),
    "non-ASCII WebSocket protocol": http2(
        headers_frame(
            literal(b":method", b"CONNECT")
            + literal(b":protocol", b"websocket")
            + literal(b":scheme", b"http")
            + literal(b":path", b"/")
            + literal(b":authority", b"a")
            + literal(b"sec-websocket-protocol", b"\xe9")
        )
    ),
    "1,100 PRIORITY frames": http2(PRIORITY_FRAME * 1100),
    "body after the answer": http2(
        headers_frame(PSEUDO + literal(b":path", b"/"), ended=False), DATA_FRAME * 100
    ),
}

UNREADABLE = {
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "binary": bytes(range(256)) + b"\r\n\r\n",
    "no request line": b"\r\n\r\n",
    "non-ASCII target": b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII header name": b"GET / HTTP/1.1\r\nHost: a\r\nX-\xe9: 1\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT to a path": b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "no slash": b"GET ?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty authority": b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "query without a path": b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/3.0": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "lengths that differ": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length that is no number": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n",
    "length of 5,000 digits": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "bad chunk": b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "huge chunk size": b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 5000
    + b"\r\n",
}

HEAD: Final = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED: Final = b"GET /scope HTTP/1.1\r\nHost: a\r\n\r\n"
LENGTH: Final = b"Content-Length: %d\r\n" % len(SMUGGLED)
LAST: Final = b"0\r\n\r\n"

HEADS: Final = {
    "two lengths": HEAD + b"Content-Length: 0\r\n" + LENGTH + b"\r\n",
    "two lengths, the larger first": HEAD + LENGTH + b"Content-Length: 0\r\n\r\n",
    "the same length twice": HEAD + LENGTH * 2 + b"\r\n",
    "the same length twice in a line": HEAD + b"Content-Length: 0, 0\r\n\r\n",
    "length, then chunked": HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + LAST,
    "chunked, then length": HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + LAST,
    "chunked under HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + LAST,
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + LAST,
    "chunked, then gzip": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + LAST,
    "gzip, then chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "gzip alone": HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "identity and a length": HEAD + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n",
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST,
    "xchunked and a length": HEAD + b"Transfer-Encoding: xchunked\r\n" + LENGTH + b"\r\n",
    "chunked in quotes": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n' + LAST,
    "chunked behind a vertical tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + LAST,
    "chunked behind a NUL": HEAD + b"Transfer-Encoding: \0chunked\r\n\r\n" + LAST,
    "chunked behind a comma": HEAD + b"Transfer-Encoding: , chunked\r\n\r\n" + LAST,
    "an empty coding": HEAD + b"Transfer-Encoding: \r\n\r\n",
    "a folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + LAST,
    "a folded header": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a folded first header": b"POST /echo HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 5\r\n\r\n",
    "a tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n" + LAST,
    "a space within a name": HEAD + b"Content Length: 5\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length with a plus": HEAD + b"Content-Length: +0\r\n\r\n",
    "a length in hex": HEAD + b"Content-Length: 0x0\r\n\r\n",
    "a length with an underscore": HEAD + b"Content-Length: 0_0\r\n\r\n",
    "a length with a point": HEAD + b"Content-Length: 0.0\r\n\r\n",
    "an empty length": HEAD + b"Content-Length:\r\n\r\n",
    "a huge length": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a length of 2 to the 64": HEAD + b"Content-Length: 18446744073709551616\r\n\r\n",
    "LF ends the request line": b"POST /echo HTTP/1.1\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "LF ends a header": b"POST /echo HTTP/1.1\r\nHost: a\nContent-Length: 0\r\n\r\n",
    "LF ends every line": b"POST /echo HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
    "LF ends the head": HEAD + b"Content-Length: 0\r\n\n",
    "LF LF within a head": HEAD + b"X: a\n\nContent-Length: 0\r\n\r\n",
    "CR ends a header": b"POST /echo HTTP/1.1\r\nHost: a\rContent-Length: 0\r\n\r\n",
    "CR within a header": HEAD + b"X: a\rContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
    "CR CR LF": HEAD + b"Content-Length: 0\r\r\n\r\n",
    "NUL within a header": HEAD + b"X: a\0\r\nContent-Length: 0\r\n\r\n",
    "NUL within a name": HEAD + b"Content-Length\0: 0\r\n\r\n",
    "NUL within the target": b"POST /echo\0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "an empty line first": b"\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
    "LF first": b"\n" + HEAD + b"Content-Length: 0\r\n\r\n",
    "two spaces": b"POST  /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "a space behind the version": b"POST /echo HTTP/1.1 \r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "a tab in the request line": b"POST\t/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "two hosts": HEAD + b"Host: b\r\nContent-Length: 0\r\n\r\n",
    "a header without a colon": HEAD + b"GET /scope HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "a header without a name": HEAD + b": a\r\nContent-Length: 0\r\n\r\n",
    "another version": b"POST /echo HTTP/1.2\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "no version": b"GET /echo\r\n\r\n",
}
BODIES: Final = {
    "LF ends a size": CHUNKED + b"5\nhello\r\n" + LAST,
    "LF behind a chunk": CHUNKED + b"5\r\nhello\n" + LAST,
    "LF ends the last size": CHUNKED + b"0\n\r\n",
    "LF ends the body": CHUNKED + b"0\r\n\n",
    "CR ends a size": CHUNKED + b"5\rhello\r\n" + LAST,
    "LF within an extension": CHUNKED + b"5;a\nhello\r\n" + LAST,
    "CR within an extension": CHUNKED + b"5;a\rb\r\nhello\r\n" + LAST,
    "NUL within an extension": CHUNKED + b"5;\0\r\nhello\r\n" + LAST,
    "a size with a prefix": CHUNKED + b"0x5\r\nhello\r\n" + LAST,
    "a size with a plus": CHUNKED + b"+5\r\nhello\r\n" + LAST,
    "a negative size": CHUNKED + b"-5\r\nhello\r\n" + LAST,
    "a size with an underscore": CHUNKED + b"0_5\r\nhello\r\n" + LAST,
    "a space before a size": CHUNKED + b" 5\r\nhello\r\n" + LAST,
    "a space behind a size": CHUNKED + b"5 \r\nhello\r\n" + LAST,
    "an empty size": CHUNKED + b"\r\nhello\r\n" + LAST,
    "a size of 17 digits": CHUNKED + b"0" * 16 + b"5\r\nhello\r\n" + LAST,
    "a chunk longer than its size": CHUNKED + b"4\r\nhello\r\n" + LAST,
    "a chunk shorter than its size": CHUNKED + b"6\r\nhello\r\n" + LAST,
    "a request for a trailer": CHUNKED + b"0\r\n" + SMUGGLED,
    "LF ends a trailer": CHUNKED + b"0\r\nX: a\n\r\n",
    "a folded trailer": CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n",
    "a trailer with a space before the colon": CHUNKED + b"0\r\nX : a\r\n\r\n",
    "a trailer with a NUL": CHUNKED + b"0\r\nX: \0\r\n\r\n",
    "an extension of 2,000 bytes": CHUNKED + b"5;" + b"x" * 2000 + b"\r\nhello\r\n" + LAST,
    "trailers of 5,000 bytes": CHUNKED + b"0\r\n" + b"X: 12\r\n" * 715 + b"\r\n",
}
