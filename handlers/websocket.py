"""A WebSocket as its application sees it, and what the front asks of that: judge an upgrade, take messages in, have
some out.

The front knows sockets and frames, and nothing of what is said; the application knows neither. An application is one
object for all connections; a session is one connection's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """The request that asks for a WebSocket.

    ``path`` is decoded, ``query`` raw, header names are in lower case; ``client`` is the address of the socket's other
    end ("" for a Unix socket). ``subprotocols`` are those offered, in their order.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRefused:
    """An ordinary answer instead of the upgrade. ``headers`` lack only Content-Length, Date and Connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeAccepted:
    """The session that the connection becomes; ``subprotocol`` is the one chosen of those offered, None for none.
    ``headers`` are added to the 101."""

    session: WebSocketSession
    subprotocol: str | None
    headers: tuple[tuple[str, str], ...] = ()


class MessageProblem(Enum):
    """Why a message never reached the session; the value is the code that the connection is then closed with."""

    TOO_LARGE = 1009
    NOT_TEXT = 1003


class SessionEnds(Exception):
    """The session wants its connection closed, once what it has to send is sent: ``code`` as in RFC 6455, section 7.4,
    ``reason`` at most 123 bytes of UTF-8."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class WebSocketSession(Protocol):
    """One connection's conversation. All calls come from the event loop, and none of them waits: the front has one task
    for a connection, which must be there for whatever else comes in."""

    @property
    def takes_messages(self) -> bool:
        """Whether ``receive`` may be called. When that becomes true again, ``on_news`` is called."""

    def listen(self, on_news: Callable[[], None]) -> None:
        """Called once, at the beginning. ``on_news`` is to be called when ``next_message`` may have something, though
        not within a call of the session; it may call the session, and raises nothing."""

    def receive(self, message: str) -> None:
        """Takes in one whole text message. Raises SessionEnds."""

    def refuse_message(self, problem: MessageProblem) -> None:
        """Puts the error in line that tells the client of a message that could not be taken; the front then closes."""

    def next_message(self) -> bytes | None:
        """The next text message to send (UTF-8), None if there is nothing now. Asked only when the socket can take one,
        so that what the session puts off until then is as new as can be. Raises SessionEnds when there is none any
        more."""

    def last_message(self) -> bytes | None:
        """A message that is in line already, None if there is none: what is sent before the connection is closed."""

    def close(self) -> None:
        """The connection is over, however it ended. Called exactly once; ``on_news`` is not called any more."""


class WebSocketApp(Protocol):
    """Who answers upgrades."""

    async def open_websocket(self, request: UpgradeRequest) -> UpgradeAccepted | UpgradeRefused:
        """Judges a request for a WebSocket. Raises nothing but what cancels the task."""
