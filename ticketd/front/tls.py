"""TLS in front of the lanes: a connection is decrypted here, and the lane behind is given a plain socket.

    peer ─ TLS ─ two pumps ─ socket pair ─ lane

So every lane works on real sockets, with what their kernel knows of slow readers, whether or not its peer speaks TLS.
What is true here: the handshake has its time; what one side sends waits for the other within the buffers of the pair;
whichever end is over ends the other. Which protocol is spoken is agreed on in the handshake (ALPN).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final

import trio

from ticketd.front.certificates import HTTP2, Certificates
from ticketd.front.connections import Connection, Lane
from ticketd.front.faults import PeerGone

_RECORD_BYTES: Final = 16_384
"""The most that one record of TLS holds (RFC 8446, section 5.1)."""
_LAST_BYTES_SECONDS: Final = 5.0
"""For what the lane has sent and the peer has not taken, once the lane is done."""

_TlsStream = trio.SSLStream[trio.SocketStream]


class TlsLane:
    """Serves connections that speak TLS: HTTP/2 by one lane, all else by the other."""

    def __init__(self, certificates: Certificates, http11: Lane, http2: Lane) -> None:
        self._certificates = certificates
        self._http11 = http11
        self._http2 = http2

    async def __call__(self, connection: Connection) -> None:
        """Shakes hands, then serves the connection until it ends."""
        stream = trio.SSLStream(
            connection.stream, self._certificates.context(), server_side=True, https_compatible=True
        )
        try:
            with trio.fail_after(connection.limits.header_timeout_seconds) as handshake:
                # Nothing was asked yet: whoever is still shaking hands when the daemon stops is not waited for.
                connection.on_drain = handshake.cancel
                if connection.draining:
                    handshake.cancel()
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError):
            return
        lane = self._http2 if stream.selected_alpn_protocol() == HTTP2 else self._http11
        ours, theirs = trio.socket.socketpair()
        inner = _behind(connection, socket.socket(fileno=theirs.detach()))
        connection.on_drain = inner.drain
        if connection.draining:
            # It was told so in the very moment in which the handshake ended.
            inner.drain()
        async with trio.SocketStream(ours) as plain:
            await _Bridge(stream, plain).run(inner, lane)
        await connection.close(linger=True)


def _behind(connection: Connection, theirs: socket.socket) -> Connection:
    """What a lane is given: the other end of the pair, as if its peer were the one who speaks TLS."""
    inner = Connection(theirs, connection.listener, connection.limits)
    inner.client, inner.server, inner.peer_uid = connection.client, connection.server, connection.peer_uid
    inner.scheme = "https"
    return inner


class _Bridge:
    """The two pumps of one connection."""

    def __init__(self, tls: _TlsStream, plain: trio.SocketStream) -> None:
        self._tls = tls
        self._plain = plain

    async def run(self, inner: Connection, lane: Lane) -> None:
        """Serves ``inner`` by its lane, to the end of both."""
        async with trio.open_nursery() as inwards:
            inwards.start_soon(self._pump_in)
            async with trio.open_nursery() as outwards:
                outwards.start_soon(self._pump_out)
                try:
                    with contextlib.suppress(PeerGone):
                        await lane(inner)
                finally:
                    await inner.close(linger=False)
                outwards.cancel_scope.deadline = trio.current_time() + _LAST_BYTES_SECONDS
            inwards.cancel_scope.cancel()

    async def _pump_in(self) -> None:
        """What the peer sends, to the lane; its end too. A peer that is gone ends the lane's input as one that ends."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            while data := await self._tls.receive_some(_RECORD_BYTES):
                await self._plain.send_all(data)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._plain.send_eof()

    async def _pump_out(self) -> None:
        """What the lane sends, to the peer, until the lane has said its last, or the peer takes no more."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            while data := await self._plain.receive_some(_RECORD_BYTES):
                await self._tls.send_all(data)
        # The lane must wait neither for one who is gone, nor until the peer has heard the last: that is waited for
        # outside.
        await trio.aclose_forcefully(self._plain)
