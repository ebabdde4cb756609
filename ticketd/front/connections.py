"""Accepting connections and supervising them: whatever a peer sends, only its own connection can end by it.

What is true here: an accept loop ends only by being cancelled or by a fault of the listening socket itself;
nothing but cancellation leaves a connection's task; every send is bounded in time. How HTTP is spoken is a
lane's business: a lane is given one ``Connection`` and returns when it is done with it. Several lanes can
stand behind the same accept loop.
"""

from __future__ import annotations

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

READ_BYTES: Final = 65_536
_SEND_SLICE_BYTES: Final = 65_536
# How long a peer that may still be sending has to take the last answer in before the socket is closed under
# it.
LINGER_SECONDS: Final = 1.0
ACCEPT_PAUSE_SECONDS: Final = 0.1
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
    None for TCP. ``draining`` becomes true, once, when the daemon stops: a lane then closes as soon as no
    request is in flight. ``on_drain`` is called at that moment, if a lane has set it. ``stream`` is for a lane that
    bounds its own sends, and marks the connection ``broken`` itself.
    """

    def __init__(self, stream: trio.SocketStream, listener: ListenerName, limits: FrontLimits) -> None:
        self.listener = listener
        self.limits = limits
        self.client = _ip_endpoint(stream.socket.getpeername())
        self.server = _ip_endpoint(stream.socket.getsockname())
        self.peer_uid = _peer_uid(stream.socket) if self.client is None else None
        self.draining = False
        self.on_drain: Callable[[], None] | None = None
        self.broken = False
        self.stream = stream
        self._send_lock = trio.Lock()
        self._closed = False

    def drain(self) -> None:
        """Tells the lane that the daemon stops. Never blocks."""
        self.draining = True
        if self.on_drain is not None:
            self.on_drain()

    async def receive(self) -> bytes:
        """Waits for up to ``READ_BYTES`` bytes; none when the peer sends no more. Raises ``PeerGone``."""
        try:
            return bytes(await self.stream.receive_some(READ_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerGone from None

    async def send(self, data: bytes) -> None:
        """Sends all of ``data``, each 64 KiB of it within ``send_timeout_seconds``. Raises ``PeerGone``.

        A send that did not finish, whether too slow, refused or cancelled, leaves the connection ``broken``:
        the peer lacks a part of what the lane believes to be sent, so nothing can follow.
        """
        whole = False
        try:
            async with self._send_lock:
                if self.broken or self._closed:
                    raise PeerGone
                with memoryview(data) as view:
                    for start in range(0, len(data), _SEND_SLICE_BYTES):
                        with trio.fail_after(self.limits.send_timeout_seconds):
                            await self.stream.send_all(view[start : start + _SEND_SLICE_BYTES])
            whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            raise PeerGone from None
        finally:
            self.broken = self.broken or not whole

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
            if linger and not self.broken and not self._send_lock.locked():
                await _linger(self.stream)
        finally:
            self.broken = True
            await trio.aclose_forcefully(self.stream)


async def _linger(stream: trio.SocketStream) -> None:
    try:
        with trio.move_on_after(LINGER_SECONDS):
            await stream.send_eof()
            while await stream.receive_some(READ_BYTES):
                pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


def _ip_endpoint(sockaddr: object) -> tuple[str, int] | None:
    match sockaddr:
        case (str(host), int(port), *_):
            mapped = ipaddress.ip_address(host.partition("%")[0])
            if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped is not None:
                return str(mapped.ipv4_mapped), port
            return host, port
    return None


def _peer_uid(sock: trio.socket.SocketType) -> int:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


class Door:
    """The accept loop of one listener, and the connections that came in by it."""

    def __init__(self, listener: NamedListener, lane: Lane, limits: FrontLimits) -> None:
        self._listener = listener
        self._lane = lane
        self._limits = limits
        self._live: set[Connection] = set()
        self._refusing = 0
        self._starved = False

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
            self._starved = False
            self._take_in(stream, connections)

    def _note_starved(self, error: OSError) -> None:
        if not self._starved:
            reason = errno.errorcode.get(error.errno or 0, "unknown")
            _log.error(
                "front.accept_paused", listener=self._listener.name.value, reason=reason, open=self.live_count
            )
        self._starved = True

    def _take_in(self, stream: trio.SocketStream, connections: trio.Nursery) -> None:
        if len(self._live) < self._limits.max_connections:
            try:
                connection = Connection(stream, self._listener.name, self._limits)
            except OSError:  # The peer has gone before it was asked who it is.
                stream.socket.close()
                return
            self._live.add(connection)
            connections.start_soon(self._supervise, connection)
        elif self._refusing < _MAX_POLITE_REFUSALS:
            self._refusing += 1
            connections.start_soon(self._refuse, stream)
        else:
            stream.socket.close()

    async def _supervise(self, connection: Connection) -> None:
        try:
            with faults_logged("front.connection_failed", listener=connection.listener.value):
                await self._lane(connection)
        finally:
            self._live.discard(connection)
            await connection.close(linger=False)

    async def _refuse(self, stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(LINGER_SECONDS):
                await stream.send_all(refusal_bytes(FrontRefusal.TOO_MANY_CONNECTIONS))
                await _linger(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._refusing -= 1
            await trio.aclose_forcefully(stream)
