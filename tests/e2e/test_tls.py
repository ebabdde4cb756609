"""The real daemon behind a certificate of its own, commands that call it, and certificates that it cannot use."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.support.process import NotStarted, serving, ticketd

PLACE = "127.0.0.1"


class Files:
    """A certificate that an authority of the test has signed."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.environ = self.issue(self.certificate, self.key)
        self.trusting = ssl.create_default_context()
        self._authority.configure_trust(self.trusting)

    def issue(self, certificate: Path, key: Path, *, authority_too: bool = False) -> dict[str, str]:
        """Writes a certificate, followed by its authority's if asked for, and its key; the settings that name them."""
        issued = self._authority.issue_cert(PLACE)
        chain = [*issued.cert_chain_pems, *([self._authority.cert_pem] if authority_too else [])]
        certificate.write_bytes(b"".join(blob.bytes() for blob in chain))
        key.write_bytes(issued.private_key_pem.bytes())
        return {
            "TICKETD_SERVER_TLS_CERTIFICATE_FILE": str(certificate),
            "TICKETD_SERVER_TLS_KEY_FILE": str(key),
        }


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_both_protocols_are_spoken_and_hot_calls_answered(tmp_path: Path, files: Files) -> None:
    data = tmp_path / "data"
    created = ticketd(data, "keys", "create", "--scope", "storefront")
    assert created.returncode == 0, created.stderr
    headers = {"X-API-Key": created.stdout.strip()}
    with serving(data, environ=files.environ) as daemon:
        assert daemon.url.startswith("https://")
        for http2 in (False, True):
            with httpx.Client(
                base_url=daemon.url, verify=files.trusting, http2=http2, headers=headers
            ) as client:
                assert client.get("/readyz").status_code == 200
                missing = client.get("/v1/events/0198c0de-0000-7000-8000-00000000abcd")
                assert (missing.status_code, missing.json()["error"]["code"]) == (404, "EVENT_NOT_FOUND")
                assert missing.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert daemon.stop() == 0


def test_a_key_that_cannot_be_used_stops_the_start_with_a_sentence(tmp_path: Path, files: Files) -> None:
    files.key.unlink()
    with pytest.raises(NotStarted) as stopped, serving(tmp_path / "data", environ=files.environ):
        pass
    assert stopped.value.status == 1
    assert f"There is no file {files.key}." in str(stopped.value)
    assert "Traceback" not in str(stopped.value)


def test_commands_call_an_operators_port_that_speaks_tls(tmp_path: Path, files: Files) -> None:
    data = tmp_path / "data"
    with socket.socket() as probe:
        probe.bind((PLACE, 0))
        bind = f"{PLACE}:{probe.getsockname()[1]}"
    environ = {**files.environ, "TICKETD_SERVER_OPERATOR_BIND": bind}
    # Without a daemon there is nothing to trust: the first key may be made before there is a certificate.
    too_early = {**environ, "TICKETD_SERVER_TLS_CERTIFICATE_FILE": str(tmp_path / "not-yet.pem")}
    created = ticketd(data, "keys", "create", "--scope", "operator", environ=too_early)
    assert created.returncode == 0, created.stderr
    environ["TICKETD_OPERATOR_KEY"] = created.stdout.strip()
    with serving(data, environ=environ) as daemon:
        status = ticketd(data, "status", environ=environ)
        assert status.returncode == 0, status.stderr
        assert "running" in status.stdout

        # Another certificate of the same authority is another server.
        other = files.issue(tmp_path / "other.pem", tmp_path / "other.key", authority_too=True)
        stranger = ticketd(data, "status", environ={**environ, **other})
        assert stranger.returncode == 1
        assert stranger.stderr.startswith(f"ticketd: {bind} does not speak TLS with the certificate ")
        assert daemon.stop() == 0
