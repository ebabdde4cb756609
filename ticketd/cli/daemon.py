"""Operators' calls to a running daemon: over the Unix socket in its data folder, or over its operator's port."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import Final

from config.settings import ServerSettings, Settings
from ticketd.cli.backend import JSON_HEADERS, OperatorAnswer
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import OPERATOR_KEY_VARIABLE
from ticketd.places import SOCKET_FILE

_TIMEOUT_SECONDS: Final = 60
_END_OF_CERTIFICATE: Final = "-----END CERTIFICATE-----"


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


class _TlsConnection(http.client.HTTPConnection):
    """HTTP over TLS to whoever shows a certificate of ours. The file is read once somebody has answered: without a
    daemon it need not be there."""

    def __init__(self, host: str, port: int, certificate: Path) -> None:
        super().__init__(host, port, timeout=_TIMEOUT_SECONDS)
        self._certificate = certificate

    def connect(self) -> None:
        super().connect()
        try:
            self.sock = _trusting_alone(self._certificate).wrap_socket(self.sock, server_hostname=self.host)
        except BaseException:
            self.close()
            raise


def find_daemon(settings: Settings) -> DaemonBackend | None:
    """The daemon, if its operator's listener takes a connection; None if nobody is there.

    Refuses with CommandFailed a socket that this user may not open, and a port that does not show the certificate.
    """
    connection: http.client.HTTPConnection
    if settings.server.operator_bind:
        where = settings.server.operator_bind
        connection = _tcp_connection(settings.server)
    else:
        path = Path(settings.storage.data) / SOCKET_FILE
        where = str(path)
        connection = _UnixConnection(path)
    try:
        connection.connect()
    except PermissionError as error:
        raise CommandFailed(f"{where} cannot be opened: {error.strerror}") from error
    except ssl.SSLError as error:
        reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
        raise CommandFailed(
            f"{where} does not speak TLS with the certificate {settings.server.tls_certificate_file}: {reason}"
        ) from error
    except OSError:
        return None
    return DaemonBackend(where, connection)


def _tcp_connection(server: ServerSettings) -> http.client.HTTPConnection:
    host, _, port = server.operator_bind.rpartition(":")
    host = host.strip("[]")
    if not server.tls_certificate_file:
        return http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_SECONDS)
    return _TlsConnection(host, int(port), Path(server.tls_certificate_file))


def _trusting_alone(file: Path) -> ssl.SSLContext:
    """Trusts the daemon's own certificate and no other, whoever signed it and whatever names are in it.

    The first in the file is the daemon's. Those after it are its authorities': whom else they signed is not trusted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The address that is bound need not be a name of the certificate.
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    try:
        first, end, _ = file.read_text("ascii", errors="ignore").partition(_END_OF_CERTIFICATE)
        context.load_verify_locations(cadata=first + end)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise CommandFailed(
            f"the certificate {file} cannot be used: {reason or 'it is none in PEM'}"
        ) from error
    return context
