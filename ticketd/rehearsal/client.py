"""The buyers' HTTP client: h11 over trio sockets, connections kept alive, their number bounded.

It measures nothing and knows nothing of tickets. A request has one answer or raises Unanswered.
"""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import h11
import trio
from msgspec import Struct

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""No answer of the API is as large; more would be a server gone wrong."""
IDLE_SECONDS: Final = 20.0
"""Connections unused for longer are not used again: the server may be closing them at this moment."""
_READ_BYTES: Final = 65_536

Headers = Sequence[tuple[str, str]]
ByteStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Unanswered(Exception):
    """A request has no answer; ``reason`` is upper case, as codes of errors are."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Stale(Exception):
    """A connection that was kept alive ended before the first byte of an answer."""


class Origin(Struct, frozen=True, kw_only=True):
    """Where the daemon listens."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, by its name alone."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_origin(url: str) -> Origin:
    """The origin of an http or https URL without path. Refuses with ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no http or https URL")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"{url!r} has more than a scheme, a host and a port")
    tls = parts.scheme == "https"
    return Origin(host=parts.hostname, port=parts.port or (443 if tls else 80), tls=tls)


class Answer(Struct, frozen=True):
    """One HTTP answer; header names are lower case, the body is unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """A bounded number of connections to one origin."""

    def __init__(self, origin: Origin, *, max_connections: int, timeout_seconds: float) -> None:
        self.origin = origin
        self.slots = trio.CapacityLimiter(max_connections)
        """One for each request under way. Whoever measures takes one before the clock starts, by ``request(slot=)``."""
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context() if origin.tls else None
        self._idle: list[_Connection] = []

    async def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        """Sends a request and reads its whole answer. The caller holds one of ``slots``.

        A kept connection that turns out to be closed is replaced once, where sending again is harmless: for GET and
        with an Idempotency-Key. Raises Unanswered: TIMEOUT, CONNECTION_REFUSED, CONNECTION_LOST, BAD_ANSWER.
        """
        again = method == "GET" or any(name == "Idempotency-Key" for name, _ in headers)
        try:
            with trio.fail_after(self._timeout_seconds):
                connection = self._take() or await self._open()
                try:
                    return await self._exchange(connection, method, target, headers, body)
                except _Stale:
                    if not again:
                        raise Unanswered("CONNECTION_LOST") from None
                    fresh = await self._open()
                    return await self._exchange(fresh, method, target, headers, body)
        except trio.TooSlowError:
            raise Unanswered("TIMEOUT") from None

    async def aclose(self) -> None:
        """Closes what is kept alive."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _exchange(
        self, connection: _Connection, method: str, target: str, headers: Headers, body: bytes
    ) -> Answer:
        sent = (("Host", self.origin.authority), *headers, ("Content-Length", str(len(body))))
        done = False
        try:
            answer = await connection.exchange(
                h11.Request(method=method, target=target, headers=list(sent)), body
            )
            done = connection.renew()
        except _Stale:
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            raise Unanswered("CONNECTION_LOST") from None
        except (h11.RemoteProtocolError, OSError, EOFError, zlib.error):
            raise Unanswered("BAD_ANSWER") from None
        finally:
            if done:
                self._idle.append(connection)
            else:
                await connection.aclose()
        return answer

    def _take(self) -> _Connection | None:
        """The kept connection that was used last, unless it lay for too long: then all of them did."""
        if self._idle and trio.current_time() - self._idle[-1].used_at <= IDLE_SECONDS:
            return self._idle.pop()
        for old in self._idle:
            old.drop()
        self._idle.clear()
        return None

    async def _open(self) -> _Connection:
        try:
            return _Connection(await self.open_stream())
        except OSError:
            raise Unanswered("CONNECTION_REFUSED") from None

    async def open_stream(self) -> ByteStream:
        """A fresh connection, not one of those kept alive: for a WebSocket. Raises OSError."""
        stream = await trio.open_tcp_stream(self.origin.host, self.origin.port)
        if self._tls is None:
            return stream
        return trio.SSLStream(stream, self._tls, server_hostname=self.origin.host, https_compatible=True)


class _Connection:
    """One connection, and what h11 knows of it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._reused = False
        self.used_at = trio.current_time()

    async def exchange(self, request: h11.Request, body: bytes) -> Answer:
        """One request and its answer. Raises _Stale if a kept connection had ended before."""
        data = (self._http.send(request) or b"") + (self._http.send(h11.Data(data=body)) or b"")
        data += self._http.send(h11.EndOfMessage()) or b""
        heard = False
        try:
            await self._stream.send_all(data)
            heard = await self._hear_first()
        except trio.BrokenResourceError:
            if self._reused:
                raise _Stale from None
            raise
        if not heard:
            raise _Stale if self._reused else trio.BrokenResourceError
        return await self._read_answer()

    def renew(self) -> bool:
        """Makes it ready for the next request; False if it cannot take one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self._reused = True
        self.used_at = trio.current_time()
        return True

    def drop(self) -> None:
        """Closes without a word and without waiting."""
        raw = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        raw.socket.close()

    async def aclose(self) -> None:
        """Closes; says goodbye to nobody."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)

    async def _hear_first(self) -> bool:
        """Reads the first bytes of the answer; False if there are none."""
        data = await self._stream.receive_some(_READ_BYTES)
        self._http.receive_data(bytes(data))
        return bool(data)

    async def _read_answer(self) -> Answer:
        status, headers, parts, size = 0, dict[str, str](), list[bytes](), 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > MAX_BODY_BYTES:
                    raise h11.RemoteProtocolError("the answer is too large")
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, _unpacked(headers, b"".join(parts)))
            elif not isinstance(event, h11.InformationalResponse):
                raise trio.BrokenResourceError


def _unpacked(headers: dict[str, str], body: bytes) -> bytes:
    # A body that unpacks to more than is allowed comes from a server gone wrong; what is measured is our own server.
    return gzip.decompress(body) if headers.get("content-encoding") == "gzip" and body else body
