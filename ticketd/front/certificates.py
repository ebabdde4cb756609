"""The certificate and key that the public listener shows, and how TLS is spoken with them.

Files that are replaced while the daemon runs, as certificates are every few weeks, count for the connections that come
after. If the new ones cannot be used, the old ones stay in force, and the log says so.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

import structlog

HTTP2: Final = "h2"
HTTP11: Final = "http/1.1"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")


class CertificateError(Exception):
    """The certificate and key cannot be used; the text is one sentence for the operator."""


class Certificates:
    """A certificate chain and its key, each a file in PEM, and the protocols that are offered (ALPN), best first.

    Raises CertificateError if they cannot be read or do not fit together.
    """

    def __init__(self, certificate: Path, key: Path, protocols: tuple[str, ...] = (HTTP2, HTTP11)) -> None:
        self._files = (certificate, key)
        self._protocols = protocols
        self._stamp = self._read_stamp()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """What the next connection is served with."""
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except CertificateError as error:
                _log.error("front.certificate_refused", problem=str(error))
            else:
                _log.info("front.certificate_replaced")
        return self._context

    def _read_stamp(self) -> tuple[tuple[int, int], ...]:
        found = []
        for file in self._files:
            try:
                status = os.stat(file)
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino))
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        certificate, key = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What HTTP/2 asks for (RFC 9113, section 9.2).
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.set_alpn_protocols(list(self._protocols))
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except FileNotFoundError as error:
            missing = next((file for file in self._files if not file.exists()), certificate)
            raise CertificateError(f"There is no file {missing}.") from error
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
            raise CertificateError(
                f"The certificate {certificate} and the key {key} cannot be used: {reason}."
            ) from error
        return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ValueError("the key is protected by a password")
