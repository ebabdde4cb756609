"""One request given to the ASGI app, and its answer as bytes on the connection.

What is true here: an app that fails or answers nothing is answered for with a 500; an app that listens is told when
its client is gone; what was not said whole ends the connection. How bytes become requests does not belong here.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    HTTPResponseStartEvent,
    HTTPScope,
)

from handlers.call import BodyLost
from ticketd.front.answers import BODILESS, app_head
from ticketd.front.connections import Connection
from ticketd.front.faults import faults_logged
from ticketd.front.heads import Head
from ticketd.front.intake import Intake
from ticketd.front.refusals import FrontRefusal, refusal_bytes
from ticketd.front.sockets import heed_cancellation

_CHUNKED_LINE: Final = (b"transfer-encoding", b"chunked")
_CLOSE_LINE: Final = (b"connection", b"close")


class AppExchange:
    """One request and its answer. ``keeps_alive`` tells, once it has run, whether another request may follow."""

    def __init__(self, connection: Connection, intake: Intake, head: Head) -> None:
        self._connection = connection
        self._intake = intake
        self._head = head
        self._start: HTTPResponseStartEvent | None = None
        self._begun = False
        self._ended = False
        self._told_of_end = False
        self._is_chunked = False
        self._left: int | None = None
        """How much of the length that was said is still to be sent; None where none was."""
        self.keeps_alive = head.keeps_alive

    async def run(self, app: ASGIFramework) -> None:
        """Runs the app to its end. Raises PeerGone."""
        with faults_logged("front.app_failed", listener=self._connection.listener.value):
            await app(self._scope(), self._receive, self._send)
        if self._ended:
            return
        if self._begun:
            # The client waits for more than it got: only the end of the connection tells it so.
            self.keeps_alive = False
            return
        refusal = self._intake.loss or FrontRefusal.APP_FAILED
        self.keeps_alive = False
        await self._connection.send(refusal_bytes(refusal, with_body=self._head.method != "HEAD"))

    def _scope(self) -> HTTPScope:
        head, connection = self._head, self._connection
        path, _, query = head.target.partition("?")
        return {
            "type": "http",
            "http_version": head.version,
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": head.method,
            "scheme": connection.scheme,
            "path": unquote(path),
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in head.lines],
            "client": connection.client,
            "server": connection.server,
            "state": ConnectionState({}),
            "extensions": {
                "ticketd": {"listener": connection.listener.value, "peer_uid": connection.peer_uid}
            },
        }

    async def _receive(self) -> ASGIReceiveEvent:
        if self._ended:
            return {"type": "http.disconnect"}
        try:
            if not self._told_of_end:
                piece = await self._intake.next_piece()
                self._told_of_end = self._intake.body_is_read
                return {"type": "http.request", "body": piece, "more_body": not self._told_of_end}
        except BodyLost:
            return {"type": "http.disconnect"}
        await self._intake.wait_until_gone()
        return {"type": "http.disconnect"}

    async def _send(self, message: ASGISendEvent) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            if self._start is None:
                self._start = message
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._send_body(
                self._start, bytes(message.get("body", b"")), message.get("more_body", False)
            )

    async def _send_body(self, start: HTTPResponseStartEvent, body: bytes, more: bool) -> None:
        head = b"" if self._begun else self._make_head(start, len(body), more)
        if self._is_bodiless(start):
            body = b""
        elif self._left is not None:
            body = body[: self._left]
            self._left -= len(body)
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if head or body:
            await self._send_bytes(head + body)
        if not more:
            self._end(start)

    async def _send_bytes(self, data: bytes) -> None:
        connection = self._connection
        if self._begun:
            await connection.send(data)
            return
        # An app that is cancelled before this can still be answered for. From here on nothing is cut in two.
        await heed_cancellation()
        sent = connection.send_nowait(data)
        self._begun = True
        if sent < len(data):
            await connection.send(memoryview(data)[sent:])

    def _end(self, start: HTTPResponseStartEvent) -> None:
        if self._left and not self._is_bodiless(start):
            raise AssertionError("the app sent less than it had said")
        self._ended = True

    def _make_head(self, start: HTTPResponseStartEvent, size: int, more: bool) -> bytes:
        self._intake.forgo_continue()
        headers = [(bytes(name).lower(), bytes(value)) for name, value in start.get("headers", [])]
        status = int(start["status"])
        length = next((value for name, value in headers if name == b"content-length"), None)
        if status not in BODILESS and length is None:
            if more and self._head.version == "1.1":
                self._is_chunked = True
                headers.append(_CHUNKED_LINE)
            elif more:
                self.keeps_alive = False
            else:
                headers.append((b"content-length", b"%d" % size))
        elif length is not None:
            self._left = int(length)
        # An answer before the whole body has come (a refusal) is the last: what is left of the body, which may be of
        # any size, is not waited for.
        if not self.keeps_alive or self._connection.draining or not self._intake.body_is_here:
            self.keeps_alive = False
            headers.append(_CLOSE_LINE)
        return app_head(status, headers)

    def _is_bodiless(self, start: HTTPResponseStartEvent) -> bool:
        return self._head.method == "HEAD" or int(start["status"]) in BODILESS
