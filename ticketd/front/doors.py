"""Accepting connections and supervising them: whatever a peer sends, only its own connection can end by it.

What is true here: an accept loop ends only by being cancelled or by a fault of the listening socket itself;
nothing but cancellation leaves a connection's task. A lane is given one ``Connection`` and returns when it is done with
it; several lanes can stand behind the same accept loop.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Final

import structlog
import trio

from ticketd.front.connections import LINGER_SECONDS, Connection, Lane
from ticketd.front.faults import PeerGone, faults_logged
from ticketd.front.limits import FrontLimits
from ticketd.front.listeners import NamedListener
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.sockets import accept_nowait, close_socket
from ticketd.rate_limits.addresses import TrustedProxies, subscriber_of

ACCEPT_PAUSE_SECONDS: Final = 0.1
_ACCEPTED_A_TURN: Final = 64
# Refusing politely costs a task and a descriptor for up to LINGER_SECONDS; beyond this many at once it is
# just a close.
_MAX_POLITE_REFUSALS: Final = 64
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")


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
