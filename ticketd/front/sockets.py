"""Reading and writing a socket without a task switch that is not needed.

Trio's own streams give way to other tasks at each call, which is right for most programs and half the time of a small
answer. Here a read waits until there is something, and so always gives way; a write gives way only if the socket is
full. Whoever writes a great deal without reading gives way by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import struct
import termios
import threading
from typing import Final

import trio

READ_BYTES: Final = 65_536


class _Buffer(threading.local):
    """Where this thread reads to, before it keeps what was read. Room for a whole read, taken for each and then cut to
    size, would leave holes that nothing else fits into: a busy daemon grew by megabytes a minute."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(READ_BYTES))


_buffer: Final = _Buffer()


async def wait_for_bytes(sock: socket.socket) -> bytes:
    """Waits for up to ``READ_BYTES`` bytes; none when the peer sends no more.

    Raises OSError, or trio.ClosedResourceError if the socket is closed meanwhile (``close_socket``).
    """
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return _receive(sock, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            continue


async def wait_until_readable(sock: socket.socket) -> None:
    """Waits until there is something to read, if only the end. Raises as ``wait_for_bytes``."""
    await trio.lowlevel.wait_readable(sock)


def read_nowait(sock: socket.socket, most_bytes: int) -> bytes | None:
    """What has come in, up to ``most_bytes`` (at most ``READ_BYTES``); none at the end of it, None if there is nothing
    yet. Raises OSError."""
    try:
        return _receive(sock, most_bytes)
    except (BlockingIOError, InterruptedError):
        return None


def _receive(sock: socket.socket, most_bytes: int) -> bytes:
    room = _buffer.room
    count = sock.recv_into(room, most_bytes)
    return bytes(room[:count])


async def wait_for_room(sock: socket.socket) -> None:
    """Waits until something more can be sent. Raises as ``wait_for_bytes``."""
    await trio.lowlevel.wait_writable(sock)


def send_nowait(sock: socket.socket, data: bytes | memoryview) -> int:
    """How many bytes of ``data`` the socket took, which may be none. Raises OSError."""
    try:
        return sock.send(data)
    except (BlockingIOError, InterruptedError):
        return 0


def has_room(sock: socket.socket) -> bool:
    """Whether something more can be sent, or the peer is gone."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


def untaken_bytes(sock: socket.socket) -> int:
    """What the kernel holds that the peer's has not acknowledged. Raises OSError."""
    (found,) = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(found)


def unread_bytes(sock: socket.socket) -> int:
    """What has come in and was not read. Raises OSError."""
    (found,) = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))
    return int(found)


def set_low_water(sock: socket.socket, count: int) -> None:
    """How much that is not sent yet the kernel takes before the socket counts as full."""
    with contextlib.suppress(OSError):  # A Unix socket has none, nor such a deep buffer.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, count)


def accept_nowait(sock: socket.socket) -> socket.socket | None:
    """A connection that waits to be accepted; None if there is none, or it cannot be taken now."""
    try:
        accepted, _ = sock.accept()
    except OSError:
        return None
    accepted.setblocking(False)
    return accepted


async def heed_cancellation() -> None:
    """Lets a cancellation that is already there take effect; otherwise goes on at once."""
    await trio.lowlevel.checkpoint_if_cancelled()


def close_socket(sock: socket.socket) -> None:
    """Closes; a task that waits for the socket is woken with trio.ClosedResourceError. Closing twice is fine."""
    if sock.fileno() >= 0:
        trio.lowlevel.notify_closing(sock)
        sock.close()
