from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handlers.call import ListenerKind
from tests.support.daemon import PUBLIC_URL, Client, Daemon, open_daemon


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with open_daemon(tmp_path) as daemon:
        yield daemon


def nobody(daemon: Daemon, listener: ListenerKind = ListenerKind.PUBLIC) -> Client:
    return Client(daemon.server, None, device=None, listener=listener)


@pytest.mark.parametrize("listener", list(ListenerKind))
async def test_the_document_needs_no_key(daemon: Daemon, listener: ListenerKind) -> None:
    answer = await nobody(daemon, listener).get("/v1/openapi.json")
    assert answer.status == 200
    assert answer.json["openapi"] == "3.1.0"
    assert answer.json["servers"] == [{"url": PUBLIC_URL}]


@pytest.mark.parametrize("path", ["/v1/openapi.json", "/docs/start.js"])
async def test_it_is_sent_once(daemon: Daemon, path: str) -> None:
    first = await nobody(daemon).get(path)
    again = await nobody(daemon).get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_the_page_takes_nothing_from_elsewhere(daemon: Daemon) -> None:
    page = await nobody(daemon).get("/docs")
    assert (page.status, page.headers["x-content-type-options"]) == (200, "nosniff")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(links) == 3
    types = {"js": "application/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    for link in links:
        asset = await nobody(daemon).get(link)
        assert asset.status == 200
        assert len(asset.body) > 50
        assert asset.headers["content-type"] == types[link.rpartition(".")[2]]
    assert b"/v1/openapi.json" in (await nobody(daemon).get("/docs/start.js")).body


@pytest.mark.parametrize(
    "name", ["nothing.js", "..", ".", "../pages.py", "%2e%2e", "LICENSE", "start.js/", "start.js\x00", "é"]
)
async def test_nothing_else_is_found_there(daemon: Daemon, name: str) -> None:
    answer = await nobody(daemon).get(f"/docs/{name}")
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
