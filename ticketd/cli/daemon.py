"""Operators' calls to a running daemon: over the Unix socket in its data folder, or over its operator's port."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path
from typing import Final

from config.settings import Settings
from ticketd.cli.backend import JSON_HEADERS, OperatorAnswer
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import OPERATOR_KEY_VARIABLE
from ticketd.places import SOCKET_FILE

_TIMEOUT_SECONDS: Final = 60


class DaemonBackend:
    """Answers calls by passing them to a daemon, over a connection that is open already."""

    is_daemon = True

    def __init__(self, where: str, connection: http.client.HTTPConnection) -> None:
        self._where = where
        self._connection = connection

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        """The daemon's answer. Raises CommandFailed if none comes."""
        headers = dict(JSON_HEADERS)
        if key := os.environ.get(OPERATOR_KEY_VARIABLE):
            headers["x-api-key"] = key
        try:
            self._connection.request(method, target, body, headers)
            response = self._connection.getresponse()
            return OperatorAnswer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise CommandFailed(f"the daemon at {self._where} did not answer: {reason}") from error

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(_TIMEOUT_SECONDS)
            sock.connect(os.fspath(self._path))
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def find_daemon(settings: Settings) -> DaemonBackend | None:
    """The daemon, if its operator's listener takes a connection; None if nobody is there.

    Refuses with CommandFailed a socket that this user may not open.
    """
    connection: http.client.HTTPConnection
    if bind := settings.server.operator_bind:
        where = bind
        host, _, port = bind.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_TIMEOUT_SECONDS)
    else:
        path = Path(settings.storage.data) / SOCKET_FILE
        where = str(path)
        connection = _UnixConnection(path)
    try:
        connection.connect()
    except PermissionError as error:
        raise CommandFailed(f"{where} cannot be opened: {error.strerror}") from error
    except OSError:
        return None
    return DaemonBackend(where, connection)
