from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from config.settings import ServerSettings, Settings, StorageSettings
from handlers.call import ListenerKind
from tests.support.daemon import Client, Daemon, open_daemon
from ticketd.credentials.api_keys import Scope
from ticketd.metrics import CONTENT_TYPE


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


def nobody(daemon: Daemon, listener: ListenerKind) -> Client:
    return Client(daemon.server, None, device=None, listener=listener)


@pytest.mark.parametrize("listener", list(ListenerKind))
async def test_it_lives_and_is_ready(daemon: Daemon, listener: ListenerKind) -> None:
    client = nobody(daemon, listener)
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        answer = await client.get(path)
        assert (answer.status, answer.json) == (200, {"status": status})
        assert answer.headers["cache-control"] == "no-store"


async def test_without_its_store_it_lives_and_is_not_ready(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(daemon.services.engine), "is_running", lambda _: False)
    client = nobody(daemon, ListenerKind.PUBLIC)
    assert (await client.get("/healthz")).status == 200
    answer = await client.get("/readyz")
    assert (answer.status, answer.code) == (503, "STORAGE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


async def test_without_room_to_grow_it_lives_and_is_not_ready(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.lmdb_engine.LmdbBackend.disk_room_bytes", lambda _: -1)
    client = nobody(daemon, ListenerKind.PUBLIC)
    assert (await client.get("/healthz")).status == 200
    answer = await client.get("/readyz")
    assert (answer.status, answer.code) == (503, "STORAGE_UNAVAILABLE")
    monkeypatch.setattr("storage.lmdb_engine.LmdbBackend.disk_room_bytes", lambda _: 0)
    assert (await client.get("/readyz")).status == 200


async def test_liveness_touches_no_store(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(*_: object) -> None:
        raise AssertionError("the store was read")

    monkeypatch.setattr(type(daemon.services.engine), "snapshot", snapshot)
    assert (await nobody(daemon, ListenerKind.PUBLIC).get("/healthz")).status == 200


async def test_the_process_tells_of_its_memory_descriptors_and_tasks(daemon: Daemon) -> None:
    async def read() -> dict[str, float]:
        answer = await nobody(daemon, ListenerKind.OPERATOR).get("/metrics")
        lines = [line.split() for line in answer.body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines if "{" not in name}

    before = await read()
    assert before["process_resident_memory_bytes"] > 10_000_000
    with ExitStack() as stack:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            for end in socket.socketpair():
                stack.callback(end.close)
            meanwhile = await read()
            nursery.cancel_scope.cancel()
    after = await read()
    for name, more in (("ticketd_tasks", 1), ("process_open_fds", 2)):
        assert (meanwhile[name], after[name]) == (before[name] + more, before[name])


async def test_metrics_are_the_operators(daemon: Daemon) -> None:
    answer = await nobody(daemon, ListenerKind.OPERATOR).get("/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    assert b"# TYPE ticketd_requests_total counter" in answer.body
    over_tcp = nobody(daemon, ListenerKind.OPERATOR_TCP)
    for key, wanted in (
        ("", (401, "API_KEY_INVALID")),
        (daemon.keys[Scope.STOREFRONT], (403, "SCOPE_MISSING")),
    ):
        refused = await over_tcp.get("/metrics", headers={"x-api-key": key})
        assert (refused.status, refused.code) == wanted
    key = daemon.keys[Scope.OPERATOR]
    assert (await over_tcp.get("/metrics", headers={"x-api-key": key})).status == 200
    hidden = await nobody(daemon, ListenerKind.PUBLIC).get("/metrics")
    assert (hidden.status, hidden.code) == (404, "NOT_FOUND")


async def test_metrics_are_everybodys_where_so_configured(tmp_path: Path) -> None:
    settings = Settings(
        storage=StorageSettings(map_size_bytes=256 * 1024 * 1024), server=ServerSettings(metrics_public=True)
    )
    async with open_daemon(tmp_path, settings) as daemon:
        answer = await nobody(daemon, ListenerKind.PUBLIC).get("/metrics")
        assert answer.status == 200
        assert answer.body.startswith(b"# HELP ")
