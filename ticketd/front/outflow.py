"""What goes out on a WebSocket: whole frames, one after the other, and how it shows that a peer takes none.

What is true here: a frame is given to the socket at once, or the rest of it is kept and goes first; nothing waits but
``finish``; the kernel is given little that the peer has no room for. What is in the frames, and how many may be kept,
does not belong here.
"""

from __future__ import annotations

import math
import socket
from typing import Final

from ticketd.front.faults import PeerGone
from ticketd.front.sockets import has_room, send_nowait, set_low_water, untaken_bytes, wait_for_room

LOW_WATER_BYTES: Final = 16 * 1024
"""Of what is not sent yet, what the kernel takes before a socket counts as full. (It may take the rest of a segment
more, at most 64 KiB.) Without this bound it takes some megabytes, and a close frame would stand behind them."""

_NO_LOW_WATER: Final = 2**31 - 1
_LOOKS: Final = 6
"""How often, in the time after which a peer counts as stalled, it is looked at whether it took something."""


class Outflow:
    """The sending side of one connection. Times are Trio's, in seconds."""

    __slots__ = ("_kept", "_look_at", "_look_seconds", "_quiet_looks", "_socket", "_untaken")

    def __init__(self, sock: socket.socket, stalled_seconds: float) -> None:
        self._socket = sock
        self._kept = b""
        self._look_seconds = stalled_seconds / _LOOKS
        self._look_at = math.inf
        self._quiet_looks = 0
        self._untaken = 0
        set_low_water(sock, LOW_WATER_BYTES)

    @property
    def begun(self) -> bool:
        """Something was not taken yet, of which the peer may have a part."""
        return bool(self._kept)

    @property
    def look_at(self) -> float:
        """When to ``look`` next; never while there is room."""
        return self._look_at

    def has_room(self) -> bool:
        """Whether the socket can take another frame; nothing is kept then. Raises ``PeerGone``."""
        if self._kept:
            self._push()
        if self._kept or not has_room(self._socket):
            return False
        self._look_at = math.inf
        return True

    def send(self, frame: bytes) -> None:
        """Sends a frame after what is kept, and keeps what the socket does not take. Raises ``PeerGone``."""
        if self._kept:
            self._kept += frame
        elif (taken := self._give(frame)) < len(frame):
            self._kept = frame[taken:]

    def watch(self, now: float) -> None:
        """There is no room, and somebody who wants some: from now on the peer is watched."""
        if self._look_at == math.inf:
            self._quiet_looks = 0
            self._watch_on(now)

    def look(self, now: float) -> bool:
        """Looks whether the peer took something since the last look. False: it has not for all of the time."""
        quiet = self._untaken_now() >= self._untaken
        self._quiet_looks = self._quiet_looks + 1 if quiet else 0
        self._watch_on(now)
        return self._quiet_looks < _LOOKS

    def open_wide(self) -> None:
        """Lets the kernel take more than a peer that reads has room for: for the frames that end a connection."""
        set_low_water(self._socket, _NO_LOW_WATER)

    async def finish(self) -> None:
        """Waits until nothing is kept, however long that takes. Raises ``PeerGone``."""
        while self._kept:
            await wait_for_room(self._socket)
            self._push()

    def _push(self) -> None:
        if taken := self._give(self._kept):
            self._kept = self._kept[taken:]

    def _give(self, data: bytes) -> int:
        try:
            return send_nowait(self._socket, data)
        except OSError:
            raise PeerGone from None

    def _untaken_now(self) -> int:
        try:
            return untaken_bytes(self._socket)
        except OSError:  # Closed meanwhile.
            return 0

    def _watch_on(self, now: float) -> None:
        self._look_at = now + self._look_seconds
        self._untaken = self._untaken_now()
