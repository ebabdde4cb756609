"""Requests that are nearly right, over sockets, at both doors: what comes back is HTTP and in form."""

from __future__ import annotations

import random
from typing import Final

import trio

from tests.ladder.fuzz.answers import Malformed, take_answer, wrong_about
from tests.ladder.fuzz.mutation import change_bytes, change_head, in_chunks, in_pieces
from tests.ladder.fuzz.scene import Scene

PATIENCE_SECONDS: Final = 120.0
"""The daemon's own bounds are a second or two: who has heard nothing by then is forgotten."""
SHOWN_BYTES: Final = 600


async def play_wire(scene: Scene, chance: random.Random) -> str | None:
    """Sends one request that is nearly right, perhaps with a right one behind it, and judges what comes back."""
    exchange = chance.choice(scene.exchanges)
    sent = _nearly(chance, exchange.request)
    if chance.random() < 0.2:
        sent += exchange.request
    if not sent.strip():
        return None
    stream = await scene.connect(operators=exchange.operators)
    with trio.move_on_after(PATIENCE_SECONDS) as patience:
        async with stream:
            wrong = await _talk(stream, in_pieces(chance, sent), sent.lstrip(b"\r\n").split(b" ")[0])
    if patience.cancelled_caught:
        wrong = f"neither answered nor closed within {PATIENCE_SECONDS:.0f} s"
    return None if wrong is None else f"{wrong}\n{exchange.name} as {_shown(sent)}"


def _nearly(chance: random.Random, request: bytes) -> bytes:
    match chance.randrange(8):
        case 0 | 1 | 2:
            return change_head(chance, request)
        case 3:
            return in_chunks(chance, request)
        case 4:
            return change_bytes(chance, in_chunks(chance, request))
        case 5:
            head, end, body = request.partition(b"\r\n\r\n")
            return head + end + change_bytes(chance, body)
        case _:
            return change_bytes(chance, request)


async def _talk(stream: trio.SocketStream, pieces: object, method: bytes) -> str | None:
    """Sends the pieces and reads until there is an answer, or the end."""
    heard = bytearray()
    assert isinstance(pieces, list)
    try:
        for piece in pieces:
            await stream.send_all(piece)
        while True:
            found = take_answer(bytes(heard), method)
            if found is not None:
                break
            data = await stream.receive_some(65_536)
            if not data:
                return f"an answer that breaks off: {bytes(heard[:200])!r}" if heard else None
            heard += data
        answer, rest = found
        wrong = wrong_about(answer, bodiless=method == b"HEAD")
        if wrong is None and rest and answer.status != 101 and method != b"HEAD":
            following = take_answer(rest, b"GET")
            wrong = None if following is None else wrong_about(following[0])
    except Malformed as malformed:
        return f"{malformed} in {bytes(heard[:300])!r}"
    except (trio.BrokenResourceError, ConnectionError):
        return None
    return wrong


def _shown(sent: bytes) -> str:
    return repr(sent) if len(sent) <= SHOWN_BYTES else f"{sent[:SHOWN_BYTES]!r} and so on, {len(sent)} bytes"
