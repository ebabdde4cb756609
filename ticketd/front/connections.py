"""Accepting connections and supervising them: whatever a peer sends, only its own connection can end by it.

What is true here: an accept loop ends only by being cancelled or by a fault of the listening socket itself;
nothing but cancellation leaves a connection's task; every send is bounded in time. How HTTP is spoken is a
lane's business: a lane is given one ``Connection`` and returns when it is done with it. Several lanes can
stand behind the same accept loop.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from ticketd.front.faults import PeerGone, faults_logged
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import ListenerName, NamedListener
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.sockets import (
    READ_BYTES,
    accept_nowait,
    close_socket,
    heed_cancellation,
    read_nowait,
    send_nowait,
    wait_for_bytes,
    wait_for_room,
)
from ticketd.rate_limits.addresses import TrustedProxies, subscriber_of

_SEND_SLICE_BYTES: Final = 65_536
_UNSENT_BYTES: Final = 262_144
"""So much may wait in the kernel for a slow peer, beside what is on its way: a compressed map of a large hall fits."""
# How long a peer that may still be sending has to take the last answer in before the socket is closed under
# it.
LINGER_SECONDS: Final = 1.0
ACCEPT_PAUSE_SECONDS: Final = 0.1
_ACCEPTED_A_TURN: Final = 64
# Refusing politely costs a task and a descriptor for up to LINGER_SECONDS; beyond this many at once it is
# just a close.
_MAX_POLITE_REFUSALS: Final = 64
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")

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


class Door:
    """The accept loop of one listener, and the connections that came in by it.

    ``proxies`` are counted together as many as they bring; everybody else by address (IPv6: by network), and one
    address may have ``max_connections_per_address``.
    """

    def __init__(
        self, listener: NamedListener, lane: Lane, limits: FrontLimits, proxies: TrustedProxies | None = None
    ) -> None:
        self._listener = listener
        self._lane = lane
        self._limits = limits
        self._proxies = proxies
        self._live: set[Connection] = set()
        self._by_address: dict[str, int] = {}
        self._refusing = 0
        self._is_starved = False
        self._is_crowded = False

    @property
    def live_count(self) -> int:
        """How many connections are open, those being refused not counted."""
        return len(self._live)

    def drain(self) -> None:
        """Tells every open connection that the daemon stops. Call it when nothing is accepted any more."""
        for connection in tuple(self._live):
            connection.drain()

    async def run_accepting(self, connections: trio.Nursery) -> None:
        """Accepts for ever; each connection becomes a task of the nursery ``connections``.

        When the system has no descriptors or memory left it waits and tries again. Any other error of the
        listening socket is raised: it is no peer's doing.
        """
        while True:
            try:
                stream = await self._listener.listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._note_starved(error)
                await trio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            self._is_starved = False
            self._take_in(socket.socket(fileno=stream.socket.detach()), connections)
            # Those who came with it: one for each turn of a busy loop would keep the last of a crowd out for seconds.
            for _ in range(_ACCEPTED_A_TURN - 1):
                if (accepted := accept_nowait(self._listener.socket)) is None:
                    break
                self._take_in(accepted, connections)

    def _note_starved(self, error: OSError) -> None:
        if not self._is_starved:
            reason = errno.errorcode.get(error.errno or 0, "unknown")
            _log.error(
                "front.accept_paused", listener=self._listener.name.value, reason=reason, open=self.live_count
            )
        self._is_starved = True

    def _take_in(self, sock: socket.socket, connections: trio.Nursery) -> None:
        try:
            connection = Connection(sock, self._listener.name, self._limits)
        except OSError:  # The peer has gone before it was asked who it is.
            sock.close()
            return
        address = self._counted_address(connection)
        if self._has_room(address):
            self._live.add(connection)
            if address is not None:
                self._by_address[address] = self._by_address.get(address, 0) + 1
            connections.start_soon(self._supervise, connection, address)
        elif self._refusing < _MAX_POLITE_REFUSALS:
            self._refusing += 1
            connections.start_soon(self._refuse, connection)
        else:
            close_socket(sock)

    def _counted_address(self, connection: Connection) -> str | None:
        """By what a connection is counted; None for a trusted proxy's, and on a Unix socket."""
        if connection.client is None:
            return None
        host = connection.client[0]
        return None if self._proxies is not None and self._proxies.trusts(host) else subscriber_of(host)

    def _has_room(self, address: str | None) -> bool:
        if len(self._live) >= self._limits.max_connections:
            self._note_crowded()
            return False
        self._is_crowded = False
        return address is None or self._by_address.get(address, 0) < self._limits.max_connections_per_address

    def _note_crowded(self) -> None:
        """Says once, until there is room again, that all places are taken."""
        if not self._is_crowded:
            _log.warning("front.full", listener=self._listener.name.value, open=self.live_count)
        self._is_crowded = True

    async def _supervise(self, connection: Connection, address: str | None) -> None:
        try:
            with faults_logged("front.connection_failed", listener=connection.listener.value):
                await self._lane(connection)
        finally:
            self._live.discard(connection)
            if address is not None:
                self._forget(address)
            await connection.close(linger=False)

    def _forget(self, address: str) -> None:
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]

    async def _refuse(self, connection: Connection) -> None:
        try:
            with trio.move_on_after(LINGER_SECONDS), contextlib.suppress(PeerGone):
                await connection.send(refusal_bytes(FrontRefusal.TOO_MANY_CONNECTIONS))
                await connection.close(linger=True)
        finally:
            self._refusing -= 1
            await connection.close(linger=False)
