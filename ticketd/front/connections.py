"""One accepted connection, with what a lane may do with it: read, send within bounds of time, and close.

What is true here: every send is bounded in time, and one that did not finish leaves the connection broken. How
connections are accepted belongs to ``ticketd.front.doors``, and how HTTP is spoken to the lanes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from ticketd.front.faults import PeerGone
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import ListenerName
from ticketd.front.sockets import (
    READ_BYTES,
    close_socket,
    heed_cancellation,
    read_nowait,
    send_nowait,
    unread_bytes,
    untaken_bytes,
    wait_for_bytes,
    wait_for_room,
)

_SEND_SLICE_BYTES: Final = 65_536
_UNSENT_BYTES: Final = 262_144
"""So much may wait in the kernel for a slow peer, beside what is on its way: a compressed map of a large hall fits."""
# How long a peer that may still be sending has to take the last answer in before the socket is closed under
# it.
LINGER_SECONDS: Final = 1.0

Lane = Callable[["Connection"], Awaitable[None]]


class Connection:
    """One accepted socket, with what a lane needs to know of it and may do with it.

    ``client`` is the address of the socket's other end and its port, None for a Unix socket; an IPv4 client
    of an IPv6 listener has its IPv4 address. ``peer_uid`` is the user id at the other end of a Unix socket,
    None for TCP. ``scheme`` is "https" behind TLS. ``draining`` becomes true, once, when the daemon stops: a
    lane then closes as soon as no request is in flight. ``on_drain`` is called at that moment, if a lane has
    set it. ``socket`` is for a lane that bounds its own sends, and marks the connection ``broken`` itself.
    """

    __slots__ = (
        "_closed",
        "_send_lock",
        "_stream",
        "broken",
        "client",
        "draining",
        "limits",
        "listener",
        "on_drain",
        "peer_uid",
        "scheme",
        "server",
        "socket",
    )

    def __init__(self, sock: socket.socket, listener: ListenerName, limits: FrontLimits) -> None:
        self.listener = listener
        self.limits = limits
        self.client = _ip_endpoint(sock.getpeername())
        self.server = _ip_endpoint(sock.getsockname())
        self.peer_uid = _peer_uid(sock) if self.client is None else None
        self.scheme = "http"
        self.draining = False
        self.on_drain: Callable[[], None] | None = None
        self.broken = False
        self.socket = sock
        self._send_lock: trio.Lock | None = None
        self._closed = False
        self._stream: trio.SocketStream | None = None
        if self.client is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)

    @property
    def stream(self) -> trio.SocketStream:
        """The socket as Trio's stream."""
        if self._stream is None:
            self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(self.socket))
        return self._stream

    def drain(self) -> None:
        """Tells the lane that the daemon stops. Never blocks."""
        self.draining = True
        if self.on_drain is not None:
            self.on_drain()

    async def receive(self) -> bytes:
        """Waits for up to ``READ_BYTES`` bytes; none when the peer sends no more. Raises ``PeerGone``."""
        if self._closed:
            raise PeerGone
        try:
            return await wait_for_bytes(self.socket)
        except (OSError, trio.ClosedResourceError):
            raise PeerGone from None

    def receive_nowait(self) -> bytes | None:
        """Up to ``READ_BYTES`` bytes that have come in; none when the peer sends no more, None if there is nothing yet.
        Raises ``PeerGone``."""
        if self._closed:
            raise PeerGone
        try:
            return read_nowait(self.socket, READ_BYTES)
        except OSError:
            raise PeerGone from None

    def send_nowait(self, data: bytes) -> int:
        """Sends as much of ``data`` as there is room for now, and tells how many bytes that was; the rest is for
        ``send``. Raises ``PeerGone``."""
        if self.broken or self._closed or (self._send_lock is not None and self._send_lock.locked()):
            raise PeerGone
        try:
            return send_nowait(self.socket, data)
        except OSError:
            self.broken = True
            raise PeerGone from None

    async def send(self, data: bytes | memoryview) -> None:
        """Sends all of ``data``, each 64 KiB of it within ``send_timeout_seconds``. Raises ``PeerGone``.

        A send that did not finish, whether too slow, refused or cancelled, leaves the connection ``broken``:
        the peer lacks a part of what the lane believes to be sent, so nothing can follow.
        """
        whole = False
        self._send_lock = self._send_lock or trio.Lock()
        try:
            async with self._send_lock:
                if self.broken or self._closed:
                    raise PeerGone
                with memoryview(data) as view:
                    for start in range(0, len(view), _SEND_SLICE_BYTES):
                        await self._send_slice(view[start : start + _SEND_SLICE_BYTES])
            whole = True
        except (OSError, trio.ClosedResourceError, trio.TooSlowError):
            raise PeerGone from None
        finally:
            self.broken = self.broken or not whole

    async def _send_slice(self, view: memoryview) -> None:
        await heed_cancellation()
        sent = send_nowait(self.socket, view)
        if sent == len(view):
            return
        with trio.fail_after(self.limits.send_timeout_seconds):
            while sent < len(view):
                await wait_for_room(self.socket)
                sent += send_nowait(self.socket, view[sent:])

    @property
    def has_come(self) -> bool:
        """Whether something has come in that was not read yet; the end of what comes is not counted."""
        try:
            return not self._closed and unread_bytes(self.socket) > 0
        except OSError:
            return False

    @property
    def is_settled(self) -> bool:
        """Whether the peer has taken all that it was sent, and all that it has sent was read. Closing at once before
        that may reset the connection, and cost the peer an answer that is still on its way."""
        try:
            return self._closed or (not untaken_bytes(self.socket) and not self.has_come)
        except OSError:
            return True

    async def close(self, *, linger: bool) -> None:
        """Closes the socket; a second call does nothing.

        With ``linger`` the peer is first told that no more will come, and what it still sends is thrown away
        for up to ``LINGER_SECONDS``: closing on unread bytes would reset the connection and take the last
        answer with it. A send in progress is not waited for; it raises ``PeerGone``.
        """
        if self._closed:
            return
        self._closed = True
        try:
            sending = self._send_lock is not None and self._send_lock.locked()
            if linger and not self.broken and not sending:
                await _linger(self.socket)
        finally:
            self.broken = True
            close_socket(self.socket)


async def _linger(sock: socket.socket) -> None:
    with contextlib.suppress(OSError, trio.ClosedResourceError), trio.move_on_after(LINGER_SECONDS):
        sock.shutdown(socket.SHUT_WR)
        while await wait_for_bytes(sock):
            pass


def _ip_endpoint(sockaddr: object) -> tuple[str, int] | None:
    match sockaddr:
        case (str(host), int(port), *_):
            mapped = ipaddress.ip_address(host.partition("%")[0])
            if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped is not None:
                return str(mapped.ipv4_mapped), port
            return host, port
    return None


def _peer_uid(sock: socket.socket) -> int:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)
