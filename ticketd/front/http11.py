"""HTTP/1.1 on one plaintext connection: Hypercorn's protocol, less what a client can misuse.

What is true here: HTTP/2 is never spoken, neither by upgrade (an ``Upgrade: h2c`` is ignored, as RFC 9110
section 7.8 allows) nor by prior knowledge (refused); a request for a WebSocket never reaches
the app: it is put aside for another lane, or refused; a request that cannot be given to the app is refused in
the API's error form and ends the connection; heads are judged as the fast lane judges them, since h11 forgives
more. Sockets and timeouts do not belong here.
"""

from __future__ import annotations

from collections.abc import Callable

import h11
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from ticketd.front.heads import END, fault_of_part, origin_form, read_head
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.upgrade import UpgradeHead


def plain_config(max_header_bytes: int) -> Config:
    """Hypercorn's settings for this protocol.

    A head of exactly ``max_header_bytes`` is the largest that passes, if the protocol is never fed so much at
    once that it would hold more than that.
    """
    config = Config()
    config.h11_max_incomplete_size = max_header_bytes - 1
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    return config


class _Http11Connection(h11.Connection):
    """Bytes after a last request (``Connection: close``, HTTP/1.0) are no error that costs it its answer; nor is a body
    that goes wrong when its answer has begun.

    ``refusal`` is how a head is to be refused that was told to be no HTTP.
    """

    refusal = FrontRefusal.NOT_HTTP

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA
        if self.their_state is h11.IDLE:
            self._judge_head(bytes(self.trailing_data[0]))
        try:
            return super().next_event()
        except h11.RemoteProtocolError:
            if self.our_state is h11.SEND_BODY:
                return h11.NEED_DATA
            raise

    def _judge_head(self, held: bytes) -> None:
        end = held.find(END)
        found = read_head(held[: end + len(END)]) if end >= 0 else fault_of_part(held)
        if isinstance(found, FrontRefusal):
            self.refusal = found
            raise h11.RemoteProtocolError(found.message, error_status_hint=found.status)


class PlainHttp11(H11Protocol):
    """The protocol of one connection.

    ``draining()`` tells whether the connection is to end after the answer in flight. ``takes_upgrades``: there is
    somebody for WebSockets; once ``upgrade`` is set, a request asks for one, and nothing is to be fed any more.
    """

    takes_upgrades = False
    upgrade: UpgradeHead | None = None
    draining: Callable[[], bool] = staticmethod(lambda: False)
    _method = b""

    async def initiate(self) -> None:
        self._requests = _Http11Connection(
            h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
        )
        self.connection = self._requests

    @property
    def takes_no_more(self) -> bool:
        """The last request of the connection is here; what still comes in is to be thrown away."""
        return self.connection.their_state in {h11.MUST_CLOSE, h11.ERROR}

    @property
    def held(self) -> bytes:
        """What came in that is not yet part of a request."""
        return bytes(self.connection.trailing_data[0])

    @property
    def held_bytes(self) -> int:
        """How many bytes came in that are not yet part of a request."""
        return len(self.connection.trailing_data[0])

    @property
    def awaits_request(self) -> bool:
        """No request is in flight: the next bytes are those of a head, perhaps begun (``held_bytes``)."""
        return self.connection.their_state is h11.IDLE and self.connection.our_state is h11.IDLE

    @property
    def awaits_body(self) -> bool:
        """A request's headers are here, the rest of its body is not."""
        return self.connection.their_state is h11.SEND_BODY

    async def refuse(self, refusal: FrontRefusal) -> None:
        """Ends the connection; if no answer has begun, ``refusal`` is the answer."""
        begun = self.connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE)
        if not begun:
            await self.send(RawData(data=refusal_bytes(refusal, with_body=self._method != b"HEAD")))
        await self.send(Closed())

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and event.status_code >= 200 and self._is_last_answer():
            headers = [*event.headers, (b"connection", b"close")]
            event = Response(stream_id=event.stream_id, headers=headers, status_code=event.status_code)
        await super().stream_send(event)

    def _is_last_answer(self) -> bool:
        """Whether the connection ends after the answer that begins now: a client that is not told would send its next
        request into the closing. An answer before the whole body has come (a refusal) is the last: what is left of
        the body, which may be of any size, is not waited for."""
        return self.draining() or self.awaits_body

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn switches to HTTP/2 here; this never does."""

    async def _create_stream(self, request: h11.Request) -> None:
        self._method = request.method
        target = origin_form(request.target)
        if target is None:
            await self.refuse(FrontRefusal.TARGET)
            return
        if _asks_for_websocket(request):
            if self.takes_upgrades:
                self.upgrade = UpgradeHead(target, list(request.headers))
            else:
                await self.refuse(FrontRefusal.NO_WEBSOCKET)
            return
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=target,
                state=self.connection_state,
            )
        )

    async def _send_error_response(self, status_code: int) -> None:
        if self.awaits_request and self.held.startswith(b"HEAD "):
            self._method = b"HEAD"
        too_large = status_code == FrontRefusal.HEADERS_TOO_LARGE.status
        await self.refuse(FrontRefusal.HEADERS_TOO_LARGE if too_large else self._requests.refusal)

    async def _maybe_recycle(self) -> None:
        self._method = b""
        if not self.draining():
            await super()._maybe_recycle()
            return
        await self._close_stream()
        await self.can_read.set()
        await self.send(Closed())


def _asks_for_websocket(request: h11.Request) -> bool:
    return (
        request.method == b"GET"
        and request.http_version == b"1.1"
        and "websocket" in _tokens(request, b"upgrade")
        and "upgrade" in _tokens(request, b"connection")
    )


def _tokens(request: h11.Request, name: bytes) -> set[str]:
    # Latin-1 reads any byte: a peer may send others than ASCII in any header.
    values = [value.decode("latin-1").lower() for header, value in request.headers if header == name]
    return {token.strip() for value in values for token in value.split(",")}
