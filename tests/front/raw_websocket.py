"""A WebSocket client that sends exactly the bytes it is told to, and an application for the front to serve."""

from __future__ import annotations

import base64
import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from handlers.websocket import (
    MessageProblem,
    SessionEnds,
    UpgradeAccepted,
    UpgradeRefused,
    UpgradeRequest,
)
from tests.front.raw_http import LIMITS, Answer, App, RawClient, RunningFront, serving
from ticketd.front import FrontLimits
from ticketd.front.certificates import Certificates

KEY: Final = base64.b64encode(bytes(16))
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MOST_ANSWERS: Final = 16
"""So many may be in line for a client before another of its messages is taken."""
MASK: Final = b"\x01\x02\x03\x04"


def upgrade(path: str = "/ws", *more: bytes) -> bytes:
    """A good request for a WebSocket, with further header lines."""
    lines = [
        f"GET {path} HTTP/1.1".encode(),
        b"Host: a",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + KEY,
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """A client's frame; ``rsv`` is the three reserved bits."""
    return frame_header(opcode, len(payload), fin=fin, rsv=rsv, masked=masked) + (
        bytes(byte ^ MASK[place % 4] for place, byte in enumerate(payload)) if masked else payload
    )


def frame_header(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    first, mask_bit = (fin << 7) | (rsv << 4) | opcode, masked << 7
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    return head + (MASK if masked else b"")


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2, "big") + reason


class Session:
    """Echoes, and does what some messages ask for. It notes all that it is told."""

    def __init__(self, app: SocketApp) -> None:
        self._app = app
        self._line: deque[bytes] = deque()
        self._on_news: Callable[[], None] | None = None
        self._waits = False
        self.received: list[str] = []
        self.refused: list[MessageProblem] = []
        self.taken = 0
        self.closed = 0
        self.over = trio.Event()
        self.flood: bytes | None = None
        self.ends: Exception | None = None

    @property
    def takes_messages(self) -> bool:
        return (not self._waits or self._app.is_gate_open) and len(self._line) < MOST_ANSWERS

    def listen(self, on_news: Callable[[], None]) -> None:
        assert self._on_news is None
        self._on_news = on_news

    def tell(self) -> None:
        """There may be news."""
        if self._on_news is not None:
            self._on_news()

    def say(self, message: bytes) -> None:
        """Puts a message in line from outside."""
        self._line.append(message)
        self.tell()

    def receive(self, message: str) -> None:
        assert self.takes_messages
        self.received.append(message)
        match message.partition(" "):
            case ("end", _, _):
                self._line.append(b"last words")
                raise SessionEnds(4000, "as asked")
            case ("end-later", _, _):
                self.ends = SessionEnds(4001, "there is no more")
            case ("fail", _, _):
                raise ValueError("secret-token")
            case ("fail-later", _, _):
                self.ends = ValueError("secret-token")
            case ("wait", _, _):
                self._waits = True
            case ("flood", _, size):
                self.flood = b"x" * int(size)
            case _:
                self._line.append(message.encode())

    def refuse_message(self, problem: MessageProblem) -> None:
        self.refused.append(problem)
        self._line.append(b"refused " + problem.name.encode())

    def next_message(self) -> bytes | None:
        if not self._line and self.flood is None:
            if self.ends is not None:
                raise self.ends
            return None
        self.taken += 1
        return self._line.popleft() if self._line else self.flood

    def last_message(self) -> bytes | None:
        return self._line.popleft() if self._line else None

    def close(self) -> None:
        self.closed += 1
        self._on_news = None
        self.over.set()


class SocketApp:
    """Answers upgrades by their path."""

    def __init__(self) -> None:
        self.requests: list[UpgradeRequest] = []
        self.sessions: list[Session] = []
        self.is_gate_open = False
        self.judging = trio.Event()
        self.judging.set()

    async def open_websocket(self, request: UpgradeRequest) -> UpgradeAccepted | UpgradeRefused:
        await self.judging.wait()
        self.requests.append(request)
        match request.path:
            case "/refuse":
                headers = (("content-type", "text/plain"), ("x-request-id", "r"))
                return UpgradeRefused(status=401, headers=headers, body=b"no token")
            case "/raise":
                raise ValueError("secret-token")
        session = Session(self)
        self.sessions.append(session)
        chosen = "ticketd.v1" if "ticketd.v1" in request.subprotocols else None
        return UpgradeAccepted(session=session, subprotocol=chosen, headers=(("x-request-id", "r"),))

    def open_gate(self) -> None:
        """Sessions that wait take messages again."""
        self.is_gate_open = True
        for session in self.sessions:
            session.tell()

    @property
    def session(self) -> Session:
        assert len(self.sessions) == 1
        return self.sessions[0]


class RawSocket(RawClient):
    """A WebSocket of which every byte is the test's."""

    async def say(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        await self.send(frame(opcode, payload, fin=fin))

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: its opcode and its payload. It must be whole and unmasked, with no reserved bit."""
        first, second = await self._read_exactly(2)
        assert first & 0xF0 == 0x80
        assert second < 128
        size = second
        if second == 126:
            size = int.from_bytes(await self._read_exactly(2), "big")
        elif second == 127:
            size = int.from_bytes(await self._read_exactly(8), "big")
        return first & 0x0F, await self._read_exactly(size)

    async def echo(self, text: bytes) -> None:
        await self.say(TEXT, text)
        assert await self.hear() == (TEXT, text)

    async def expect_close(self, code: int) -> list[bytes]:
        """Reads up to the close frame, which must have the code, then to the end; gives the texts before it."""
        texts = []
        while (heard := await self.hear())[0] != CLOSE:
            if heard[0] == TEXT:
                texts.append(heard[1])
        assert int.from_bytes(heard[1][:2], "big") == code, heard
        assert await self.read_rest() == b""
        return texts


class ServedSockets:
    """A running front with ``SocketApp`` behind it."""

    def __init__(self, served: RunningFront, app: SocketApp) -> None:
        self.served = served
        self.app = app

    async def open(self, head: bytes | None = None, after: bytes = b"") -> RawSocket:
        client = await self.connect()
        answer = await client.ask((head or upgrade()) + after)
        assert answer.status == 101
        return client

    async def connect(self) -> RawSocket:
        """A connection that has asked for nothing yet."""
        client = RawSocket((await RawClient.connect(self.served.address)).stream)
        self.served.close_at_the_end(client)
        return client

    async def ask(self, head: bytes) -> tuple[Answer, bytes]:
        """The answer to a head, and what comes behind it."""
        client = await self.served.connect()
        answer = await client.ask(head)
        return answer, await client.read_rest()


@contextlib.asynccontextmanager
async def serving_sockets(
    limits: FrontLimits = LIMITS, certificates: Certificates | None = None
) -> AsyncIterator[ServedSockets]:
    """Serves ``SocketApp`` and, for plain requests, ``App``; at the end every session must have been closed once."""
    app = SocketApp()
    async with serving(App(), limits, websocket_app=app, certificates=certificates) as served:
        yield ServedSockets(served, app)
        app.open_gate()
    assert [session.closed for session in app.sessions] == [1] * len(app.sessions)
