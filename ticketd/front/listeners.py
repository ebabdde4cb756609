"""Opening and closing the sockets that the daemon listens on.

A listener has a name, since what is served depends on the door one comes in by. Accepting does not belong
here.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
import socket
import stat
from pathlib import Path
from typing import Final

import msgspec
import trio

BACKLOG: Final = 4096
_MAX_UNIX_PATH_BYTES: Final = 107  # sun_path of unix(7), less the NUL that ends it
_BIND: Final = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})", re.ASCII)


class ListenError(Exception):
    """A socket cannot be opened; the text is one sentence for the operator."""


class ListenerName(enum.Enum):
    """The doors of the daemon."""

    PUBLIC = "public"
    OPERATOR = "operator"


class BoundAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a listener really listens: ``host`` and ``port`` for TCP, else ``path``."""

    name: ListenerName
    host: str | None = None
    port: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if self.host and ":" in self.host else f"{self.host}:{self.port}"


class NamedListener:
    """A listening socket with its name and address. Closing it twice is fine."""

    def __init__(self, sock: socket.socket, address: BoundAddress) -> None:
        self.address = address
        self.name = address.name
        self.socket = sock
        self.listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self._socket_file = None if address.path is None else _SocketFile(Path(address.path))

    def close(self) -> None:
        """Stops listening and removes the socket file, if it is still the one that was made here."""
        self.listener.socket.close()
        if self._socket_file is not None:
            self._socket_file.remove()
            self._socket_file = None


class _SocketFile:
    """A socket's file, remembered by its inode: one that somebody else put there since is not removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = self._read_identity()

    def _read_identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def remove(self) -> None:
        if self._identity is not None and self._read_identity() == self._identity:
            with contextlib.suppress(OSError):
                self._path.unlink()


async def open_tcp_listener(bind: str, name: ListenerName) -> NamedListener:
    """Listens on ``HOST:PORT``: an address or a host name; IPv6 in brackets; port 0 lets the system choose.

    A name that has several addresses is bound to the first, IPv4 before IPv6. ``[::]`` takes IPv4 too where
    the system does. Raises ``ListenError``: not of that form, an unknown host, or an address that cannot be
    bound.
    """
    host, port = _split_bind(bind)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ListenError(f"Cannot listen on {bind}: the host {host!r} is not known.") from None
    family, _, _, _, sockaddr = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"Cannot listen on {bind}: {_reason(error)}.") from None
    bound_host, bound_port = sock.getsockname()[:2]
    return NamedListener(sock, BoundAddress(name=name, host=bound_host, port=bound_port))


def _split_bind(bind: str) -> tuple[str, int]:
    match = _BIND.fullmatch(bind)
    if match is None:
        raise ListenError(
            f"Cannot listen on {bind!r}: write HOST:PORT, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080."
        )
    port = int(match["port"])
    if port > 65535:
        raise ListenError(f"Cannot listen on {bind}: a port is a number from 0 to 65535.")
    return match["ipv6"] or match["host"], port


def _reason(error: OSError) -> str:
    sentences = {
        errno.EADDRINUSE: "the address is in use by another process",
        errno.EACCES: "permission denied (ports below 1024 need a privilege)",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    return sentences.get(error.errno or 0, error.strerror or type(error).__name__)


def open_unix_listener(path: Path, name: ListenerName) -> NamedListener:
    """Listens on a Unix socket at ``path``, mode 0600, so that only its owner (and root) can connect.

    The socket file that a dead process left is replaced. Raises ``ListenError``: a path too long, a file
    there that is not a socket, a socket that somebody listens on, or a folder that cannot be written. Two
    processes that open the same path at the same instant are not told apart; the ownership of the data folder
    does that.
    """
    where = os.fspath(path)
    if len(os.fsencode(where)) > _MAX_UNIX_PATH_BYTES:
        raise ListenError(
            f"Cannot listen on {where}: a socket's path is at most {_MAX_UNIX_PATH_BYTES} bytes long."
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale_socket(path)
        sock.bind(where)
        # Nobody can connect before listen(), so the file is never open to others, however short.
        path.chmod(0o600)
        sock.listen(BACKLOG)
    except ListenError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise ListenError(f"Cannot listen on {where}: {_unix_reason(error)}.") from None
    return NamedListener(sock, BoundAddress(name=name, path=where))


def _unix_reason(error: OSError) -> str:
    sentences = {
        errno.ENOENT: "its folder does not exist",
        errno.ENOTDIR: "its folder is not a folder",
        errno.EACCES: "permission denied",
        errno.EROFS: "its folder is read-only",
        errno.EADDRINUSE: "another process has just made it",
    }
    return sentences.get(error.errno or 0, error.strerror or type(error).__name__)


def _remove_stale_socket(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"Cannot listen on {path}: a file that is not a socket is in the way.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # Its backlog is full: somebody listens.
    raise ListenError(f"Cannot listen on {path}: another process listens there.")
