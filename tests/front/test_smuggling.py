"""The classics of request smuggling: what two readers could read in two ways is refused, and nothing behind it is read.

Both fronts refuse the same, but for what is listed under ``READ_BY_H11``.
"""

from __future__ import annotations

from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.front.raw_http import BOTH_FRONTS, App, serving

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
READ_BY_H11: Final = {
    "LF ends a trailer": "h11 takes a bare LF for the end of a trailer, as RFC 9112 (2.2) allows",
    "LF ends the body": "the same",
    "a folded trailer": "h11 unfolds trailers, and throws them away",
    "a space behind a size": "h11 allows white space there, which nobody reads in another way",
    "a size of 17 digits": "h11 allows 20",
    "an extension of 2,000 bytes": "h11 bounds a size line by the largest head",
    "trailers of 5,000 bytes": "h11 bounds trailers by the largest head",
    "CR within an extension": "h11 throws extensions away without looking at them",
    "NUL within an extension": "the same",
}

pytestmark = BOTH_FRONTS


@pytest.mark.parametrize("classic", [*HEADS, *BODIES])
async def test_a_classic_is_refused_and_nothing_behind_it_is_read(classic: str, front: str) -> None:
    app = App()
    sent = HEADS.get(classic) or BODIES[classic]
    with capture_logs() as logs:
        async with serving(app) as served:
            client = await served.connect()
            await client.send(sent + SMUGGLED)
            await client.stream.send_eof()
            found = await client.read_rest()
            await served.assert_alive()
    statuses = [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]
    if front == "hypercorn" and classic in READ_BY_H11:
        # One body, and behind it the request that stands there for any reader.
        assert statuses == [200, 200]
        return
    assert statuses == [400]
    assert b"connection: close" in found.lower()
    assert b"/scope" not in found
    # Nothing but a body that broke off came to the app, and the client who asks whether all is well.
    assert len(app.outcomes) == (2 if classic in BODIES else 1)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + LENGTH + b"\r\n" + SMUGGLED,
        CHUNKED + b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + LAST,
        CHUNKED + b"%x;a=b\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + b"0\r\nX-A: 1\r\n\r\n",
        HEAD.replace(b"/echo", b"http://a/echo") + LENGTH + b"\r\n" + SMUGGLED,
        HEAD + b"transfer-encoding: CHUNKED \r\n\r\n" + b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + LAST,
        HEAD + b"X:\r\nContent-Length:%d  \r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    ],
    ids=["length", "chunked", "extension and trailer", "absolute form", "white space", "more white space"],
)
async def test_a_request_within_a_body_is_body(sent: bytes) -> None:
    async with serving(App()) as served:
        client = await served.connect()
        for _ in range(2):
            assert (await client.ask(sent)).body == SMUGGLED
