"""Serving one connection by Hypercorn's HTTP/2, which is spoken behind TLS only.

What is true here: a stream that cannot be a request of the API (CONNECT, a path that is none) is reset and costs no
other; a body has its time, and so has a peer that opens no window for its answers; a peer that says nothing is left
after the idle time. How streams become requests is Hypercorn's, and what they say is the app's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import priority.priority
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState

from ticketd.front.app_tasks import AppTasks
from ticketd.front.connections import Connection
from ticketd.front.faults import PeerGone
from ticketd.front.limits import FrontLimits
from ticketd.front.refusals import FrontRefusal, refusal_parts

MOST_STREAMS: Final = 100
"""Requests of one connection at once."""
MOST_REQUESTS: Final = 10_000
"""Requests of one connection after each other, those included that their client has taken back at once."""

_LINE_BYTES: Final = 4
"""What a header takes up in HTTP/1.1 beside its name and its value."""
_MOST_DECODED_BYTES: Final = 65_536


def http2_config(max_header_bytes: int) -> Config:
    """Hypercorn's settings for this protocol."""
    config = Config()
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h2_max_concurrent_streams = MOST_STREAMS
    config.h2_max_header_list_size = max_header_bytes
    config.keep_alive_max_requests = MOST_REQUESTS
    return config


class Http2Lane:
    """Serves connections with one ASGI app; one instance is the lane of any number of them."""

    def __init__(self, app: ASGIFramework, limits: FrontLimits) -> None:
        self._app: AppWrapper = ASGIWrapper(app)
        self._config = http2_config(limits.max_header_bytes)

    async def __call__(self, connection: Connection) -> None:
        """Serves ``connection`` until it ends. Returns when the app is done with its last request, too."""
        async with AppTasks(connection) as tasks:
            conversation = _Conversation(connection, self._app, self._config, tasks)
            await conversation.run()


class _Streams(H2Protocol):
    """The protocol of one connection. ``bodies`` are the streams whose body has not ended, with when it has to."""

    def __init__(self, *parts: object, body_seconds: float, max_header_bytes: int) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]  # passed on as they came
        self.connection.local_settings[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 0
        self.connection.local_settings.acknowledge()
        self.bodies: dict[int, float] = {}
        self._body_seconds = body_seconds
        self._max_header_bytes = max_header_bytes
        # What is somewhat too long is answered; what is far too long ends the connection.
        self.connection.decoder.max_header_list_size = max(_MOST_DECODED_BYTES, 2 * max_header_bytes)

    @property
    def is_blocked(self) -> bool:
        """Whether something waits for the peer to open its window."""
        return any(buffer.buffer for buffer in self.stream_buffers.values())

    async def handle(self, event: Event) -> None:
        """Takes in what has happened on the connection. Once it is closed, no app waits for its peer any more."""
        await super().handle(event)
        if isinstance(event, Closed):
            for buffer in self.stream_buffers.values():
                await buffer.close()

    async def _handle_events(self, events: Sequence[h2.events.Event]) -> None:
        self._forget_answered()
        kept = [event for event in events if not self._is_settled(event)]
        await super()._handle_events(kept)
        self._forget_answered()

    def _forget_answered(self) -> None:
        """Of a stream that was answered before its body had come, no body is awaited."""
        self.bodies = {stream: until for stream, until in self.bodies.items() if stream in self.streams}

    def _is_settled(self, event: h2.events.Event) -> bool:
        """Whether an event needs no more care than it gets here."""
        if isinstance(event, h2.events.RequestReceived):
            headers = event.headers or ()
            if not _is_request(headers):
                self.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.PROTOCOL_ERROR)
                return True
            if sum(len(name) + len(value) + _LINE_BYTES for name, value in headers) > self._max_header_bytes:
                self._refuse(event.stream_id, FrontRefusal.HEADERS_TOO_LARGE)
                return True
            self.bodies[event.stream_id] = trio.current_time() + self._body_seconds
        elif isinstance(event, h2.events.StreamEnded):
            self.bodies.pop(event.stream_id, None)
        elif isinstance(event, h2.events.DataReceived) and not self._is_open(event.stream_id):
            # The answer came before the end of the body, which is thrown away.
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            return True
        return False

    def _refuse(self, stream_id: int, refusal: FrontRefusal) -> None:
        """Answers a stream here; the connection goes on."""
        headers, body = refusal_parts(refusal)
        own = [(name, value) for name, value in headers if name != b"connection"]
        self.connection.send_headers(stream_id, [(b":status", b"%d" % refusal.status), *own])
        self.connection.send_data(stream_id, body, end_stream=True)

    def _is_open(self, stream_id: int) -> bool:
        return stream_id in self.streams or stream_id in self.bodies


def _is_request(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether these are the headers of a request that the app can be given."""
    found = {bytes(name): bytes(value) for name, value in headers if bytes(name).startswith(b":")}
    method, path = found.get(b":method", b""), found.get(b":path", b"")
    return (
        method.isascii()
        and method.replace(b"-", b"").isalnum()
        and method.upper() != b"CONNECT"
        and path.isascii()
        and path.startswith(b"/")
    )


class _Conversation:
    """Reads one connection and feeds its protocol, which calls back with what is to be sent."""

    def __init__(self, connection: Connection, app: AppWrapper, config: Config, tasks: TaskGroup) -> None:
        self._connection = connection
        self._ended = False
        self._reader = trio.CancelScope()
        self._heard_at = self._idle_since = trio.current_time()
        self._protocol = _Streams(
            app,
            config,
            WorkerContext(None),
            tasks,
            ConnectionState({}),
            True,
            connection.client,
            connection.server,
            self._on_protocol_event,
            body_seconds=connection.limits.body_timeout_seconds,
            max_header_bytes=connection.limits.max_header_bytes,
        )

    async def run(self) -> None:
        """Serves streams until there are no more."""
        self._connection.on_drain = self._on_drain
        with contextlib.suppress(PeerGone, h2.exceptions.H2Error, priority.priority.PriorityError):
            await self._protocol.initiate()
            if self._connection.draining:
                self._on_drain()
            with self._reader:
                await self._read()
        with contextlib.suppress(PeerGone):
            await self._protocol.handle(Closed())
        await self._connection.close(linger=True)

    def _on_drain(self) -> None:
        if self._protocol.idle:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._reader.cancel()

    async def _read(self) -> None:
        while not self._ended and not self._is_too_late(trio.current_time()):
            with trio.move_on_after(self._seconds_to_next_look()):
                data = await self._connection.receive()
                if not data:
                    return
                self._heard_at = trio.current_time()
                await self._protocol.handle(RawData(data))

    def _seconds_to_next_look(self) -> float:
        limits, now = self._connection.limits, trio.current_time()
        looks = [until - now for until in self._protocol.bodies.values()]
        if self._protocol.idle:
            looks.append(self._quiet_since() + limits.idle_timeout_seconds - now)
        # That an answer is stuck, or is over, is not told to a reader that waits.
        looks.append(min(limits.send_timeout_seconds, limits.idle_timeout_seconds))
        return max(min(looks), 0)

    def _is_too_late(self, now: float) -> bool:
        """Whether the peer has let too much time pass without what is awaited of it."""
        limits = self._connection.limits
        if any(until <= now for until in self._protocol.bodies.values()):
            return True
        if self._protocol.idle:
            return now >= self._quiet_since() + limits.idle_timeout_seconds
        return self._protocol.is_blocked and now >= self._heard_at + limits.send_timeout_seconds

    def _quiet_since(self) -> float:
        return max(self._heard_at, self._idle_since)

    async def _on_protocol_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            try:
                await self._connection.send(event.data)
            except PeerGone:
                self._end()
                raise
        elif isinstance(event, Closed) or (self._connection.draining and self._protocol.idle):
            self._end()
        else:
            self._idle_since = trio.current_time()
