"""What must hold of the front's readers of bytes, whatever the bytes are: one function a reader.

Each takes any bytes and raises AssertionError where the reader does what it must not: raise what it does not declare,
depend on how the bytes are cut, take for a request what another reader of HTTP (h11) takes for a different one.
``scripts/fuzz-front`` has atheris look for such bytes, guided by what they make the reader do; the fuzz makes some by
chance.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Final

import h11

from handlers.bodies import decode_body, parse_query
from handlers.routes import ENDPOINTS
from ticketd.errors import Refusal
from ticketd.front.chunks import ChunkedBody, ChunkFault
from ticketd.front.frames import Closed, Fault, Frames, Incoming
from ticketd.front.heads import CHUNKED, END, Head, fault_of_part, read_head
from ticketd.front.refusals import FrontRefusal
from ticketd.front.upgrade import UpgradeHead, read_upgrade

MOST_HEAD_BYTES: Final = 4096
MOST_MESSAGE_BYTES: Final = 1024
_SPACE_BEFORE_EXTENSION: Final = re.compile(rb"[ \t];")
"""RFC 9112, section 7.1.1, has it taken; h11 does not."""
_FORMS: Final = sorted(
    {line.body for line in ENDPOINTS if line.body is not None}, key=lambda form: form.__name__
)


def check_head(data: bytes) -> None:
    """A head is read or refused; a part of one that is read is never at fault; h11 sees the same request or none."""
    head = (data[:MOST_HEAD_BYTES] + END).partition(END)[0] + END
    found = read_head(head)
    if isinstance(found, FrontRefusal):
        return
    assert found.target.startswith("/"), found.target
    assert found.target.isascii()
    assert found.body_bytes >= 0 or found.body_bytes == CHUNKED
    assert all(name == name.lower() for name in found.fields)
    assert not {"content-length", "transfer-encoding"} <= found.fields.keys(), f"two lengths: {head!r}"
    for end in {1, len(head) // 3, len(head) // 2, len(head) - 3, len(head) - 1}:
        assert fault_of_part(head[:end]) is None, f"a part of {end} bytes is at fault: {head!r}"
    _compare_with_h11(head, found)


def _compare_with_h11(head: bytes, found: Head) -> None:
    """Two readers that both take a head must agree on what it asks for and on how long its body is."""
    other = h11.Connection(h11.SERVER)
    other.receive_data(head)
    try:
        request = other.next_event()
        if not isinstance(request, h11.Request):
            return
        following = other.next_event()
    except h11.RemoteProtocolError:
        return
    assert request.method == found.method.encode(), (request.method, found.method)
    assert request.http_version == found.version.encode()
    assert (following is h11.NEED_DATA) is (found.body_bytes != 0), (
        f"h11 sees a body where we see {found.body_bytes} bytes, or the other way round: {head!r}"
    )
    if found.body_bytes > 0:
        lengths = {bytes(value) for name, value in request.headers if name == b"content-length"}
        assert {int(length) for length in lengths} == {found.body_bytes}, head


def check_chunks(data: bytes) -> None:
    """A chunked body is the same however it is cut, and what h11 reads of it, too."""
    whole = _read_chunks([data])
    assert whole == _read_chunks([data[at : at + 1] for at in range(len(data))]), data
    half = len(data) // 2
    assert whole == _read_chunks([data[:half], data[half:]]), data
    if whole is None or not whole[1]:
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    assert isinstance(other.next_event(), h11.Request)
    body = b""
    try:
        while isinstance(event := other.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as error:
        if _SPACE_BEFORE_EXTENSION.search(data):
            return
        raise AssertionError(f"h11 refuses what we take ({error}): {data!r}") from None
    assert isinstance(event, h11.EndOfMessage), data
    assert (body, bytes(other.trailing_data[0])) == (whole[0], whole[2]), data


def _read_chunks(pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """The body, whether it ended, and what is behind it; None if it is none."""
    body, found = ChunkedBody(), b""
    ended, rest = False, b""
    for piece in pieces:
        if ended:
            rest += piece
            continue
        try:
            found += body.feed(piece)
        except ChunkFault:
            return None
        ended, rest = body.ended, body.rest
    # Of a body that has not ended, how much was handed out may depend on where it was cut.
    return (found, True, rest) if ended else (b"", False, b"")


def check_frames(data: bytes) -> None:
    """Frames mean the same however they are cut, and the first fault or close is the last thing that is heard."""
    whole = _read_frames([data])
    assert whole == _read_frames([data[at : at + 1] for at in range(len(data))]), data
    assert all(not isinstance(event, Closed | Fault) for event in whole[:-1])


def _read_frames(pieces: list[bytes]) -> list[Incoming]:
    frames, heard = Frames(MOST_MESSAGE_BYTES), []
    for piece in pieces:
        for event in frames.feed(piece):
            heard.append(event)
            if isinstance(event, Closed | Fault):
                return heard
    return heard


def check_upgrade(data: bytes) -> None:
    """A request for a WebSocket is read or refused."""
    lines = [line.partition(b":") for line in data.split(b"\r\n")[:64]]
    target = lines[0][0] or b"/"
    headers = [(name.strip().lower(), value.strip()) for name, _, value in lines[1:]]
    found = read_upgrade(UpgradeHead(target, headers), "127.0.0.1")
    if not isinstance(found, FrontRefusal):
        assert found.path.isascii() or "%" in target.decode("ascii")


def check_query(data: bytes) -> None:
    """A query is read or refused."""
    with contextlib.suppress(Refusal):
        parse_query(data.decode("latin-1"))


def check_body(data: bytes) -> None:
    """A body in JSON is read as any form that a request can have, or refused."""
    if data:
        with contextlib.suppress(Refusal):
            decode_body(data[1:], _FORMS[data[0] % len(_FORMS)])


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "head": check_head,
    "chunks": check_chunks,
    "frames": check_frames,
    "upgrade": check_upgrade,
    "query": check_query,
    "body": check_body,
}

SAMPLES: Final[dict[str, tuple[bytes, ...]]] = {
    "head": (
        b"GET /v1/events?query=a%20b HTTP/1.1\r\nHost: a\r\nX-API-Key: k\r\nAccept-Encoding: gzip\r\n\r\n",
        b"POST /v1/seats/reserve HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n",
        b"DELETE http://a/v1/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nhost:a\r\nconnection: Upgrade, close\r\nupgrade: websocket\r\n\r\n",
    ),
    "chunks": (
        b"5\r\nhello\r\n0\r\n\r\n",
        b'a;x="y"\r\n0123456789\r\n1 ;\r\n!\r\n0\r\nTrailer: t\r\n\r\nGET / HTTP/1.1\r\n',
        b"00000000005\r\nhello\r\n000\r\n\r\n",
    ),
    "frames": (
        b"\x81\x85\x00\x00\x00\x00hello\x89\x80\x01\x02\x03\x04\x88\x82\x00\x00\x00\x00\x03\xe8",
        b"\x01\x82\x00\x00\x00\x00he\x80\x83\x00\x00\x00\x00llo\x8a\x80\x00\x00\x00\x00",
        b"\x81\xfe\x00\x80\x00\x00\x00\x00" + b"a" * 128,
        b"\x81\xff\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00" + b"a" * 128,
    ),
    "upgrade": (
        (
            b"/v1/realtime?token=a:\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Protocol: ticketd.v1, bearer.x"
        ),
    ),
    "query": (b"page=1&per_page=20&query=caf%C3%A9+x&date_from=2027-01-01", b"a=%00&b=%ff&a=1;c"),
    "body": tuple(
        bytes([number])
        + b'{"event_id":"0f0e0d0c-0b0a-4009-8807-060504030202","quantity":2,"seat_ids":[],"x":1.5e3}'
        for number in range(len(_FORMS))
    ),
}
"""Where the search begins."""
