"""WebSockets whose client speaks nearly right: frames, messages and closes; what comes back is right throughout."""

from __future__ import annotations

import json
import random
from typing import Final

import trio

from tests.front.raw_http import RawClient
from tests.front.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawSocket,
    close_payload,
    frame,
    frame_header,
    upgrade,
)
from tests.ladder.fuzz.answers import wrong_about_error
from tests.ladder.fuzz.mutation import change_bytes, change_document, in_pieces
from tests.ladder.fuzz.scene import Scene
from ticketd.credentials.keyring import TokenKind

PATIENCE_SECONDS: Final = 120.0
_OPCODES: Final = (CONTINUATION, TEXT, TEXT, TEXT, BINARY, 3, 7, CLOSE, PING, PONG, 11, 15)
_TYPES: Final = frozenset(
    {
        "subscribed",
        "unsubscribed",
        "pong",
        "error",
        "availability_update",
        "queue_update",
        "reservation_expiring",
        "reservation_expired",
        "order_update",
    }
)


async def play_websocket(scene: Scene, chance: random.Random) -> str | None:
    """Opens a WebSocket, says one to six things that are nearly right, then goodbye, and hears it out."""
    kind = chance.choice(list(TokenKind))
    said = b"".join(_thing(scene, chance) for _ in range(chance.randint(1, 6)))
    said += frame(CLOSE, close_payload(1000))
    client = await RawClient.connect(scene.house.address)
    with trio.move_on_after(PATIENCE_SECONDS) as patience:
        async with client.stream:
            wrong = await _talk(RawSocket(client.stream), scene.tokens[kind], in_pieces(chance, said))
    if patience.cancelled_caught:
        wrong = f"not closed within {PATIENCE_SECONDS:.0f} s"
    return None if wrong is None else f"{wrong}\nwith a token of kind {kind.value}, saying {said[:1000]!r}"


def _thing(scene: Scene, chance: random.Random) -> bytes:
    """One frame, or several, or something like it."""
    message = {"type": chance.choice(("subscribe", "unsubscribe", "ping")), "event_id": scene.house.event_id}
    payload = json.dumps(message).encode()
    match chance.randrange(10):
        case 0:
            thing = frame(TEXT, payload)
        case 1:
            thing = frame(TEXT, json.dumps(change_document(chance, message)).encode())
        case 2:
            thing = frame(TEXT, change_bytes(chance, payload))
        case 3:
            thing = change_bytes(chance, frame(TEXT, payload))
        case 4:
            pieces = in_pieces(chance, payload)
            frames = [
                frame(CONTINUATION if at else TEXT, piece, fin=False) for at, piece in enumerate(pieces)
            ]
            thing = b"".join(frames) + frame(CONTINUATION if frames else TEXT)
        case 5:
            thing = frame(
                chance.choice(_OPCODES), chance.randbytes(chance.choice((0, 1, 2, 125, 126, 4096, 4097)))
            )
        case 6:
            flags = {"fin": chance.random() < 0.7, "masked": chance.random() < 0.7}
            thing = frame(chance.choice(_OPCODES), payload, rsv=chance.choice((0, 0, 1, 4, 7)), **flags)
        case 7:
            thing = frame(
                CLOSE, chance.choice((b"", b"\x03", close_payload(chance.randrange(65_536), payload[:99])))
            )
        case 8:
            thing = frame_header(TEXT, chance.choice((65_535, 65_536, 2**31, 2**63, 2**64 - 1)))
        case _:
            thing = frame(PING, payload) * chance.randint(1, 9)
    return thing


async def _talk(opened: RawSocket, token: str, pieces: object) -> str | None:
    assert isinstance(pieces, list)
    try:
        answer = await opened.ask(upgrade(f"/v1/realtime?token={token}"))
        if answer.status != 101:
            return f"a right request for a WebSocket was answered {answer.status}: {answer.body!r}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say, opened, pieces)
            wrong = await _hear(opened)
            nursery.cancel_scope.cancel()
    except (trio.BrokenResourceError, ConnectionError):
        return None
    return wrong


async def _say(opened: RawSocket, pieces: list[bytes]) -> None:
    try:
        for piece in pieces:
            await opened.send(piece)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def _hear(opened: RawSocket) -> str | None:
    """Everything up to the close; each frame is judged."""
    seq = 0
    while True:
        try:
            opcode, payload = await opened.hear()
        except AssertionError as end:
            return None if str(end).startswith("closed after b''") else f"no frame of a server's: {end}"
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            return f"closed with {code}" if code == 1011 else None
        if opcode == TEXT:
            message = json.loads(payload)
            seq += 1
            if message.get("type") not in _TYPES or message.get("seq") != seq:
                return f"message {seq} is {payload[:300]!r}"
            if message["type"] == "error" and (wrong := wrong_about_error({"error": message.get("error")})):
                return wrong
