"""A caller of the real daemon over a socket of its own: kept alive, opened again where the daemon closed it."""

from __future__ import annotations

import json
from typing import Any, Final

import trio

from tests.front.raw_http import Answer, RawClient
from tests.ladder.house import House

NO_ANSWER: Final = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionError, AssertionError)
"""What comes of a connection that ends before the answer does."""


def vanish(client: RawClient) -> None:
    """Ends a connection by a reset, if it has not been closed."""
    if client.stream.socket.fileno() != -1:
        client.reset()


class Caller:
    """Asks one thing after another. ``device`` and ``token`` go with every request, once they are set."""

    def __init__(self, house: House, device: str = "") -> None:
        self._house = house
        self._client: RawClient | None = None
        self.device = device
        self.token = ""

    async def ask(self, method: str, target: str, body: object = None, *headers: str) -> Answer:
        """One request and its whole answer. Raises one of ``NO_ANSWER`` if none comes."""
        data = b"" if body is None else json.dumps(body).encode()
        client = await self.opened()
        try:
            answer = await client.ask(self.request(method, target, data, *headers))
        except BaseException:
            self.vanish()
            raise
        if answer.headers.get("connection") == "close":
            await self.close()
        return answer

    async def json(self, method: str, target: str, body: object = None, *headers: str) -> tuple[int, Any]:
        """The same, and the answer read."""
        answer = await self.ask(method, target, body, *headers)
        return answer.status, json.loads(answer.body) if answer.body else None

    def request(self, method: str, target: str, data: bytes, *headers: str) -> bytes:
        """The bytes of a request of this caller's."""
        lines = [f"{method} {target} HTTP/1.1", "Host: a", f"X-API-Key: {self._house.key}", *headers]
        if self.device:
            lines.append(f"X-Device-ID: {self.device}")
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if data:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        return "\r\n".join([*lines, "", ""]).encode() + data

    async def opened(self) -> RawClient:
        """Its connection, opened if it is not."""
        if self._client is None:
            self._client = await RawClient.connect(self._house.address)
        return self._client

    def vanish(self) -> None:
        """Goes away in the middle, as a phone in a tunnel does."""
        if self._client is not None:
            vanish(self._client)
            self._client = None

    async def close(self) -> None:
        """Closes as one should."""
        if self._client is not None:
            client, self._client = self._client, None
            with trio.CancelScope(shield=True):
                await client.close()
