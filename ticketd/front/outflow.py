"""What goes out on a WebSocket: whole frames, one after the other, and how it shows that a peer takes none.

What is true here: frames are never mixed, and one that was begun is either finished or the connection is broken; each
caller waits for its own frame, so no more are in line than there are callers; the kernel is given little that the peer
has no room for. What is in the frames does not belong here.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone

LOW_WATER_BYTES: Final = 16 * 1024
"""Of what is not sent yet, what the kernel takes before a socket counts as full. (It may take the rest of a segment
more, at most 64 KiB.) Without this bound it takes some megabytes, and a close frame would stand behind them."""

_NO_LOW_WATER: Final = 2**31 - 1
_LOOKS: Final = 6
"""How often, in the time after which a peer counts as stalled, it is looked at whether it took something."""

_T = TypeVar("_T")


class Stalled(Exception):
    """The peer has taken nothing for too long."""


class Outflow:
    """The sending side of one connection; its tasks share it."""

    def __init__(self, connection: Connection, stalled_seconds: float) -> None:
        self._connection = connection
        self._stream = connection.stream
        self._look_seconds = stalled_seconds / _LOOKS
        self._line: deque[memoryview] = deque()
        self._lock = trio.Lock()
        self._set_low_water(LOW_WATER_BYTES)

    @property
    def begun(self) -> bool:
        """Something is in line still, of which the peer may have a part."""
        return bool(self._line)

    async def wait_for_room(self) -> None:
        """Waits until the socket can take a frame. Raises ``Stalled``, ``PeerGone``."""
        async with self._lock:
            await self._watched(self._stream.wait_send_all_might_not_block)

    async def send(self, frame: bytes) -> None:
        """Sends a frame after those in line. Raises ``Stalled``, ``PeerGone``.

        A cancelled call leaves in line what was not sent of it; the next call sends that first.
        """
        self._line.append(memoryview(frame))
        await self.send_line()

    async def send_line(self) -> None:
        """Sends what is in line. Raises ``Stalled``, ``PeerGone``."""
        async with self._lock:
            while self._line:
                sent = await self._watched(self._send_some)
                self._line[0] = self._line[0][sent:]
                if not self._line[0]:
                    self._line.popleft()

    def open_wide(self) -> None:
        """Lets the kernel take more than a peer that reads has room for: for the frames that end a connection."""
        self._set_low_water(_NO_LOW_WATER)

    async def _send_some(self) -> int:
        return await self._stream.socket.send(self._line[0])

    async def _watched(self, operation: Callable[[], Awaitable[_T]]) -> _T:
        quiet_looks = 0
        while quiet_looks < _LOOKS:
            before = self._untaken_bytes()
            try:
                with trio.move_on_after(self._look_seconds):
                    return await operation()
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                raise PeerGone from None
            quiet_looks = quiet_looks + 1 if self._untaken_bytes() >= before else 0
        raise Stalled

    def _untaken_bytes(self) -> int:
        """What the kernel holds that the peer's has not acknowledged."""
        try:
            (found,) = struct.unpack(
                "i", fcntl.ioctl(self._stream.socket.fileno(), termios.TIOCOUTQ, bytes(4))
            )
        except OSError:  # Closed meanwhile.
            return 0
        return int(found)

    def _set_low_water(self, count: int) -> None:
        with contextlib.suppress(OSError):  # A Unix socket has none, nor such a deep buffer.
            self._stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, count)
