"""The classics of request smuggling: what two readers could read in two ways is refused, and nothing behind it is read.

Both fronts refuse the same, but for what is listed under ``READ_BY_H11``.
"""

from __future__ import annotations

from typing import Final

import pytest
from structlog.testing import capture_logs

from tests.front.hostile_requests import BODIES, CHUNKED, HEAD, HEADS, LAST, LENGTH, SMUGGLED
from tests.front.raw_http import BOTH_FRONTS, App, serving

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
