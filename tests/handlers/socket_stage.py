"""A client of the WebSocket without sockets: it plays the front against a session, and takes messages at will."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import trio
import trio.testing

from handlers.realtime import RealtimeApp
from handlers.realtime_session import RealtimeSession
from handlers.websocket import UpgradeAccepted, UpgradeRefused, UpgradeRequest
from tests.support.daemon import Client, Daemon


class Socket:
    """One open connection. ``seqs`` are the numbers of all messages that were taken."""

    def __init__(self, session: RealtimeSession, accepted: UpgradeAccepted) -> None:
        self.session = session
        self.accepted = accepted
        self.seqs: list[int] = []
        self._news = trio.Event()
        session.listen(self._hear_of_news)

    def _hear_of_news(self) -> None:
        self._news.set()

    async def say(self, **message: object) -> None:
        await self.say_text(json.dumps(message))

    async def say_text(self, text: str) -> None:
        """Says a text once the session takes it."""
        while not self.session.takes_messages:
            await self._next_news()
        self.session.receive(text)

    async def take(self) -> dict[str, Any]:
        """The next message, waited for."""
        return self.read(await self.next_text())

    async def next_text(self) -> bytes:
        """The text of the next message, waited for."""
        while (text := self.session.next_message()) is None:
            await self._next_news()
        # As after a front's taking: there may be room for another answer.
        self._news.set()
        return text

    async def _next_news(self) -> None:
        self._news = trio.Event()
        await self._news.wait()

    async def take_all(self) -> list[dict[str, Any]]:
        """What can be had without time passing, as an eager reader gets it; all tasks come to rest before."""
        taken: list[dict[str, Any]] = []
        while True:
            await trio.testing.wait_all_tasks_blocked()
            found: list[dict[str, Any]] = []

            async def take_one(found: list[dict[str, Any]] = found) -> None:
                found.append(await self.take())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take_one)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            if not found:
                return taken
            taken += found

    async def take_kind(self, kind: str) -> list[dict[str, Any]]:
        """Of what can be had now, the messages of one type."""
        return [message for message in await self.take_all() if message["type"] == kind]

    async def subscribe(self, event_id: object) -> dict[str, Any]:
        """Subscribes and takes the next message."""
        await self.say(type="subscribe", event_id=str(event_id))
        return await self.take()

    def close(self) -> None:
        self.session.close()

    def read(self, text: bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(text)
        self.seqs.append(message["seq"])
        assert self.seqs == list(range(1, len(self.seqs) + 1)), "seq has a gap"
        return message


async def upgrade(
    daemon: Daemon,
    query: Mapping[str, str] | str = "",
    *,
    path: str = "/v1/realtime",
    headers: Mapping[str, str] | None = None,
    subprotocols: tuple[str, ...] = (),
    client: str = "127.0.0.1",
) -> UpgradeAccepted | UpgradeRefused:
    """Asks for a WebSocket."""
    return await RealtimeApp(daemon.services).open_websocket(
        UpgradeRequest(
            path=path,
            query=query if isinstance(query, str) else urlencode(query),
            headers=headers or {},
            subprotocols=subprotocols,
            client=client,
        )
    )


async def open_socket(daemon: Daemon, token: str | Client) -> Socket:
    """An open connection with this token."""
    text = token if isinstance(token, str) else token.token
    accepted = await upgrade(daemon, {"token": text or ""})
    assert isinstance(accepted, UpgradeAccepted), accepted
    session = accepted.session
    assert isinstance(session, RealtimeSession)
    return Socket(session, accepted)
