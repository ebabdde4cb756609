"""Commands while a real daemon runs on the data folder: over its operator's socket, or its operator's port."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    data = tmp_path_factory.mktemp("commands") / "data"
    with serving(data) as running:
        yield running


@pytest.fixture
def data(daemon: DaemonProcess) -> Path:
    return daemon.log.with_suffix("")


def get(daemon: DaemonProcess, path: str, key: str) -> httpx.Response:
    return httpx.get(daemon.url + path, headers={"X-API-Key": key})


def test_a_key_opens_the_running_daemon_at_once_until_it_is_revoked(
    daemon: DaemonProcess, data: Path
) -> None:
    created = ticketd(data, "keys", "create", "--name", "shop")
    assert (created.returncode, created.stderr) == (0, "")
    key = created.stdout.strip()
    assert get(daemon, "/v1/events/search", key).status_code == 200
    assert ticketd(data, "keys", "revoke", key.split("_")[1]).returncode == 0
    refused = get(daemon, "/v1/events/search", key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "API_KEY_INVALID")
    (told,) = json.loads(ticketd(data, "keys", "list", "--json").stdout)
    assert told["name"] == "shop"
    assert told["revoked_at"]


def test_events_rooms_tokens_and_status(daemon: DaemonProcess, data: Path) -> None:
    file = data.parent / "event.json"
    file.write_text(json.dumps(arena_file()))
    imported = ticketd(data, "import", str(file), "--json")
    assert imported.returncode == 0, imported.stderr
    event_id = json.loads(imported.stdout)["event_id"]
    key = ticketd(data, "keys", "create").stdout.strip()
    assert get(daemon, f"/v1/events/{event_id}", key).json()["name"] == "The Lantern Tour"

    paused = ticketd(data, "room", "pause", event_id)
    assert paused.stdout.startswith("paused: ")
    told = json.loads(ticketd(data, "status", "--json").stdout)
    assert told["running"] is True
    assert told["events"][0]["room"]["paused"] is True
    assert "running" in ticketd(data, "status").stdout.splitlines()[0]

    token = ticketd(data, "token", "--user", str(uuid4())).stdout.strip()
    headers = {"X-API-Key": key, "Authorization": f"Bearer {token}"}
    assert httpx.get(f"{daemon.url}/v1/orders", headers=headers).status_code == 200
    assert ticketd(data, "verify").stdout == "nothing is wrong\n"


def test_faults_of_a_file_are_told_as_without_a_daemon(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(arena_file(currency="USX", tax_rate="2")))
    assert ticketd(tmp_path / "other", "keys", "create").returncode == 0
    up = ticketd(data, "import", str(file))
    down = ticketd(tmp_path / "other", "import", str(file))
    assert (up.returncode, up.stdout, up.stderr) == (down.returncode, down.stdout, down.stderr)
    assert up.returncode == 1
    assert f"{file}: currency: " in up.stderr


def test_the_socket_is_for_the_owner_alone(data: Path) -> None:
    assert stat.S_IMODE((data / "operator.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_a_second_daemon_is_refused_in_one_sentence(daemon: DaemonProcess, data: Path) -> None:
    second = ticketd(data, "serve", "--bind", "127.0.0.1:0")
    assert second.returncode == 1
    sentence = second.stderr.splitlines()[-1]
    assert sentence == f"ticketd: the data folder {data} is in use by process {daemon.process.pid}"
    assert second.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "data") as daemon:
        daemon.process.send_signal(number)
        assert daemon.process.wait(15) == 0
    assert "Traceback" not in daemon.log.read_text()
    assert not (tmp_path / "data" / "operator.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "data", environ={"TICKETD_SERVER_SHUTDOWN_SECONDS": "120"}) as daemon:
        url = httpx.URL(daemon.url)
        with socket.create_connection((url.host, url.port)) as unfinished:
            # The daemon asks for a body that never comes, so it is at work on a request when it is to stop.
            unfinished.sendall(
                b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n{"
            )
            daemon.process.send_signal(number)
            daemon.wait_for_log("stopping")
            daemon.process.send_signal(number)
            assert daemon.process.wait(15) == 128 + number
    assert "Traceback" not in daemon.log.read_text()


def test_a_folder_that_is_open_to_others_is_warned_of_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    with serving(data) as daemon:
        assert f"{data} is open to other users (mode 0755)" in daemon.log.read_text()
        assert daemon.stop() == 0


def test_a_hangup_is_ignored(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as daemon:
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_log("SIGHUP ignored")
        assert httpx.get(f"{daemon.url}/readyz").status_code == 200
        assert daemon.stop() == 0


def test_it_prints_one_line_when_it_is_ready(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as daemon:
        assert httpx.get(f"{daemon.url}/readyz").status_code == 200
        assert daemon.stop() == 0
        assert daemon.process.stdout is not None
        assert daemon.process.stdout.read() == ""


def test_an_operators_port_needs_an_operators_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    key = ticketd(data, "keys", "create", "--scope", "operator").stdout.strip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{probe.getsockname()[1]}"
    environ = {"TICKETD_SERVER_OPERATOR_BIND": bind}
    with serving(data, environ=environ):
        keyless = ticketd(data, "status", environ=environ)
        assert keyless.returncode == 1
        assert keyless.stderr == (
            "ticketd: The API key is missing, unknown or revoked. "
            "Put one of the scope operator into the variable TICKETD_OPERATOR_KEY.\n"
        )
        status = ticketd(data, "status", environ={**environ, "TICKETD_OPERATOR_KEY": key})
        assert status.returncode == 0, status.stderr
        assert "running" in status.stdout
        without = ticketd(data, "status")
        assert without.returncode == 1
        assert "is in use by process" in without.stderr


def test_an_address_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = ticketd(tmp_path / "data", "serve", "--bind", bind)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"ticketd: Cannot listen on {bind}: the address is in use by another process."
    )


def test_a_closed_pipe_is_no_traceback(data: Path) -> None:
    listing = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m ticketd keys list --data '{data}' | true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in listing.stderr
