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

from config.settings import ServerSettings

HTTP2: Final = "h2"
HTTP11: Final = "http/1.1"

_NOT_A_PAIR: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL, by its version and the kinds of the keys, says of a key that is another certificate's."""

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
        except (OSError, ValueError) as error:
            raise CertificateError(_what_is_wrong(certificate, key, error)) from error
        return context


def load_certificates(settings: ServerSettings) -> Certificates | None:
    """Those that the settings name, if they name any. Raises CertificateError."""
    if not settings.tls_certificate_file:
        return None
    return Certificates(Path(settings.tls_certificate_file), Path(settings.tls_key_file))


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ValueError("the key is protected by a password")


def _what_is_wrong(certificate: Path, key: Path, error: OSError | ValueError) -> str:
    """The sentence for files that OpenSSL refused with ``error``, which names neither the file nor, often, a reason."""
    for file in (certificate, key):
        try:
            file.read_bytes()
        except FileNotFoundError:
            return f"There is no file {file}."
        except OSError as unreadable:
            return f"The file {file} cannot be read: {unreadable.strerror}."
    if not _holds_certificate(certificate):
        if _holds_certificate(key):
            return f"{certificate} holds no certificate, and {key} does: the two files may be swapped."
        return f"The file {certificate} holds no certificate in PEM."
    return _what_is_wrong_with_key(certificate, key, error)


def _what_is_wrong_with_key(certificate: Path, key: Path, error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"The key {key} cannot be used: {error}."
    if error.reason in _NOT_A_PAIR:
        return f"The key {key} does not belong to the certificate {certificate}."
    if not error.reason:
        return f"The file {key} holds no private key in PEM that can be read."
    return f"The certificate {certificate} and the key {key} cannot be used: {error.reason}."


def _holds_certificate(file: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError:
        return False
    return True
