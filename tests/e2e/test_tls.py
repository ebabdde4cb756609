"""The real daemon behind a certificate of its own, and certificates that it cannot use."""

from __future__ import annotations

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
        authority = trustme.CA()
        issued = authority.issue_cert(PLACE)
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.trusting = ssl.create_default_context()
        authority.configure_trust(self.trusting)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "TICKETD_SERVER_TLS_CERTIFICATE_FILE": str(self.certificate),
            "TICKETD_SERVER_TLS_KEY_FILE": str(self.key),
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
