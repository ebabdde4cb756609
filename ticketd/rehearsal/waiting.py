"""Waiting for one's turn: by polling the place in line, or on the WebSocket."""

from __future__ import annotations

from typing import Final

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import LocalProtocolError

from ticketd.rehearsal.answers import Joined, Message, Status
from ticketd.rehearsal.calls import Api, Call
from ticketd.rehearsal.client import ByteStream
from ticketd.rehearsal.measurements import Measurements

SUBSCRIBING: Final = "WS /v1/realtime"
"""What the time from opening a WebSocket to the answer of the subscription is counted under."""
_HANDSHAKE_SECONDS: Final = 30
_GOODBYE_SECONDS: Final = 5
_LOST: Final = (HandshakeError, ConnectionClosed, OSError, trio.BrokenResourceError, msgspec.MsgspecError)
_QUIET_SECONDS: Final = 120
"""A WebSocket that says nothing for as long is asked no more: the place is polled instead, as a client would."""


class Place:
    """A buyer's place in line, and the positions that the buyer was told."""

    def __init__(self, number: int, device: str, joined: Joined, notes: Measurements) -> None:
        self.device = device
        self.queue_token = joined.queue_token
        self.poll_s = float(joined.poll_interval_seconds)
        self.status = joined.status
        self.access_token: str | None = None
        self._number = number
        self._notes = notes
        self._position: int | None = None
        self.see(joined.status, joined.queue_position)

    def see(self, status: str | None, position: int | None) -> None:
        """Takes note of a position. One that grows means that somebody has overtaken this buyer."""
        self.status = status or self.status
        if self.status != "QUEUED" or position is None:
            return
        if self._position is not None and position > self._position:
            self._notes.note_grown(self._number, self._position, position)
        self._position = position


async def ask_place(api: Api, place: Place) -> str | None:
    """Asks once how far the buyer is; the access token if it is their turn. Raises Refused."""
    call = Call(method="GET", path="/v1/queue/status", token=place.queue_token, device=place.device)
    status = await api.ask(call, Status)
    place.see(status.status, status.queue_position)
    if status.poll_interval_seconds is not None:
        place.poll_s = float(status.poll_interval_seconds)
    return status.access_token


async def poll_until_ready(api: Api, place: Place) -> str:
    """Polls as often as the daemon says, until it is the buyer's turn; the access token. Raises Refused."""
    if place.status != "READY":
        await trio.sleep(place.poll_s)
    while True:
        token = await ask_place(api, place)
        if token is not None:
            return token
        await trio.sleep(place.poll_s)


async def listen_until_ready(api: Api, place: Place, event_id: str) -> str:
    """Listens on the WebSocket until it is the buyer's turn; the access token. Raises Refused.

    A WebSocket that is refused, silent or closed is noted, and the buyer polls from then on.
    """
    token = await _listen(api, place, event_id)
    return token if token is not None else await poll_until_ready(api, place)


async def _listen(api: Api, place: Place, event_id: str) -> str | None:
    """The access token that came over the WebSocket; None if the place is to be polled."""
    try:
        stream = await api.client.open_stream()
    except OSError as failure:
        _note_lost(api, failure)
        return None
    try:
        async with stream, trio.open_nursery() as nursery:
            await _converse(api, place, event_id, nursery, stream)
            nursery.cancel_scope.cancel()
    except* LocalProtocolError:
        # A ping of the daemon has met this client's own closing, and trio_websocket has tried to answer it.
        pass
    except* _LOST as failures:
        # What reads the socket fails beside what waits for its messages: one loss may be told twice.
        _note_lost(api, failures.exceptions[0])
    return place.access_token


async def _converse(api: Api, place: Place, event_id: str, nursery: trio.Nursery, stream: ByteStream) -> None:
    """Listens until the place has its access token, or is over."""
    resource = f"/v1/realtime?token={place.queue_token}&device_id={place.device}"
    began = trio.current_time()
    subscribed = False
    with trio.move_on_after(_HANDSHAKE_SECONDS) as patience:
        socket = await wrap_client_stream(nursery, stream, api.client.origin.authority, resource)
        await socket.send_message(msgspec.json.encode({"type": "subscribe", "event_id": event_id}).decode())
        while True:
            message = await _next(api, socket)
            patience.deadline = trio.current_time() + _QUIET_SECONDS
            if message.type not in {"subscribed", "queue_update"}:
                continue
            if not subscribed:
                subscribed = True
                api.notes.note_answer(SUBSCRIBING, trio.current_time() - began, 101, "")
            place.see(message.status, message.queue_position)
            if message.access_token is not None or place.status not in {"QUEUED", "LOBBY"}:
                place.access_token = message.access_token
                with trio.move_on_after(_GOODBYE_SECONDS):
                    await socket.aclose()
                return
    api.notes.odd["a WebSocket said nothing for long, and its buyer polled"] += 1


def _note_lost(api: Api, failure: BaseException) -> None:
    api.notes.odd[f"a WebSocket was lost or refused, and its buyer polled ({_told(failure)})"] += 1


async def _next(api: Api, socket: WebSocketConnection) -> Message:
    message = msgspec.json.decode(await socket.get_message(), type=Message)
    api.notes.messages += 1
    return message


def _told(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return _told(failure.exceptions[0])
    if isinstance(failure, ConnectionRejected):
        return f"answered with {failure.status_code}"
    if isinstance(failure, ConnectionClosed) and failure.reason is not None:
        return f"closed with {failure.reason.code}"
    return type(failure).__name__
