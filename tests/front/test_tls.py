"""TLS in front of every lane: handshakes, HTTP/1.1, HTTP/2 and WebSockets behind it, and peers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import httpx
import msgspec
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import (
    BOTH_FRONTS,
    GET,
    LIMITS,
    PATIENCE_SECONDS,
    SHORT_SECONDS,
    App,
    RawClient,
    RunningFront,
    serving,
)
from tests.front.raw_websocket import CLOSE, TEXT, RawSocket, close_payload, serving_sockets, upgrade
from ticketd.front import CertificateError
from ticketd.front.certificates import HTTP2, HTTP11, Certificates
from ticketd.front.connections import LINGER_SECONDS, Connection
from ticketd.front.http2_lane import Http2Lane, _is_request
from ticketd.front.listeners import ListenerName


class Authority:
    """A certificate authority of the test's own, and the files of a server's certificate."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self.issue()

    def issue(self) -> None:
        """Writes a new certificate and key."""
        issued = self._authority.issue_cert("127.0.0.1")
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    def client_context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        context.set_alpn_protocols(list(protocols))
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.asynccontextmanager
async def serving_tls(authority: Authority, app: App, **limits: float) -> AsyncIterator[RunningFront]:
    certificates = Certificates(authority.certificate, authority.key)
    bounds = msgspec.structs.replace(LIMITS, **limits)
    async with serving(app, bounds, certificates=certificates) as served:
        yield served


async def connect_tls(
    authority: Authority, served: RunningFront, *protocols: str
) -> trio.SSLStream[trio.SocketStream]:
    plain = (await served.connect()).stream
    stream = trio.SSLStream(
        plain, authority.client_context(*protocols), server_hostname="127.0.0.1", https_compatible=True
    )
    await stream.do_handshake()
    return stream


async def read_to_the_end(stream: trio.SSLStream[trio.SocketStream]) -> bytes:
    found: list[bytes | bytearray] = []
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            found.append(data)
    return b"".join(found)


@BOTH_FRONTS
@pytest.mark.parametrize("http2", [False, True])
async def test_a_client_of_another_make_gets_its_answers(authority: Authority, http2: bool) -> None:
    async with serving_tls(authority, App()) as served:
        base = f"https://127.0.0.1:{served.address.port}"
        context = authority.client_context()
        async with httpx.AsyncClient(base_url=base, verify=context, http2=http2) as client:
            for size in (0, 5, 200_000):
                answer = await client.post("/echo", content=bytes(size))
                assert (answer.status_code, answer.content) == (200, bytes(size))
                assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            scope = (await client.get("/scope?a=b")).json()
            assert (scope["client"][0], scope["path"], scope["query"]) == ("127.0.0.1", "/scope", "a=b")


async def test_many_streams_at_once(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        base = f"https://127.0.0.1:{served.address.port}"
        async with httpx.AsyncClient(base_url=base, verify=authority.client_context(), http2=True) as client:
            answers: list[int] = []

            async def ask() -> None:
                answers.append((await client.post("/echo", content=bytes(30_000))).status_code)

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(ask)
            assert answers == [200] * 50


async def test_http11_is_spoken_where_nothing_is_agreed_on(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        stream = await connect_tls(authority, served)
        await stream.send_all(GET[:-2] + b"Connection: close\r\n\r\n")
        assert (await read_to_the_end(stream)).endswith(b"hello")


@BOTH_FRONTS
async def test_a_large_answer_arrives_whole_before_the_end(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        stream = await connect_tls(authority, served, HTTP11)
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert len(await read_to_the_end(stream)) > 16_000_000


async def test_who_goes_away_in_the_middle_of_an_answer_is_not_waited_for(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        # What the front starts beside its doors counts as there before.
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        streams = [await connect_tls(authority, served, HTTP11) for _ in range(3)]
        for stream in streams:
            await stream.send_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await stream.receive_some(1000)
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living > before
        for stream in streams:
            RawClient(stream.transport_stream).reset()
        # Far less than the time that a slow reader has.
        with trio.fail_after(PATIENCE_SECONDS / 4):
            while trio.lowlevel.current_statistics().tasks_living > before:  # noqa: ASYNC110 -- nobody tells of tasks
                await trio.sleep(0.01)


async def test_the_end_follows_the_last_answer(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the front lingers for a peer that may still be sending."""
    monkeypatch.setattr("ticketd.front.connections.LINGER_SECONDS", PATIENCE_SECONDS * 10)
    async with serving_tls(authority, App()) as served:
        stream = await connect_tls(authority, served, HTTP11)
        await stream.send_all(GET[:-2] + b"Connection: close\r\n\r\n")
        assert (await read_to_the_end(stream)).endswith(b"hello")


class TestWebSockets:
    async def test_messages_of_every_size_pass_both_ways(self, authority: Authority) -> None:
        certificates = Certificates(authority.certificate, authority.key)
        async with serving_sockets(certificates=certificates) as sockets:
            socket = RawSocket(await connect_tls(authority, sockets.served, HTTP11))
            assert (await socket.ask(upgrade())).status == 101
            for size in (0, 125, 126, 4096):
                await socket.echo(b"x" * size)
            await socket.say(TEXT, b"end")
            assert await socket.hear() == (TEXT, b"last words")
            assert await socket.hear() == (CLOSE, close_payload(4000, b"as asked"))
            await socket.say(CLOSE, close_payload(4000))
            assert await socket.read_rest() == b""

    async def test_a_reader_that_reads_nothing_is_left(self, authority: Authority) -> None:
        certificates = Certificates(authority.certificate, authority.key)
        limits = msgspec.structs.replace(LIMITS, stalled_seconds=SHORT_SECONDS * 6)
        async with serving_sockets(limits, certificates) as sockets:
            socket = RawSocket(await connect_tls(authority, sockets.served, HTTP11))
            assert (await socket.ask(upgrade())).status == 101
            await socket.say(TEXT, b"flood 100000")
            await sockets.app.session.over.wait()

    async def test_the_end_of_the_daemon_is_told(self, authority: Authority) -> None:
        certificates = Certificates(authority.certificate, authority.key)
        async with serving_sockets(certificates=certificates) as sockets:
            socket = RawSocket(await connect_tls(authority, sockets.served, HTTP11))
            assert (await socket.ask(upgrade())).status == 101
            sockets.served.stop.set()
            heard = await socket.hear()
            assert (heard[0], heard[1][:2]) == (CLOSE, close_payload(1001))
            await socket.say(CLOSE, heard[1])
            assert await socket.read_rest() == b""


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", GET, bytes(100)])
async def test_who_does_not_shake_hands_is_left(authority: Authority, sent: bytes) -> None:
    with capture_logs() as logs:
        async with serving_tls(authority, App(), header_timeout_seconds=SHORT_SECONDS) as served:
            client = await served.connect()
            await client.send(sent)
            assert b"HTTP" not in await client.read_rest()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
async def test_the_end_waits_for_no_handshake(authority: Authority, sent: bytes) -> None:
    async with serving_tls(authority, App()) as served:
        client = await served.connect()
        await client.send(sent)
        await wait_all_tasks_blocked()
        served.stop.set()
        await served.ended.wait()


async def test_http2_that_begins_when_the_daemon_stops_already_ends_at_once(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    connection = Connection(ours, ListenerName.PUBLIC, LIMITS)
    connection.drain()
    with theirs, trio.fail_after(LINGER_SECONDS * 2):
        await Http2Lane(App(), LIMITS)(connection)


async def test_plain_old_tls_is_refused(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        context = authority.client_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA")
        plain = (await served.connect()).stream
        stream = trio.SSLStream(plain, context, server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)


async def test_a_new_certificate_counts_for_new_connections(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        first = await connect_tls(authority, served, HTTP11)
        before = first.getpeercert(binary_form=True)
        authority.issue()
        second = await connect_tls(authority, served, HTTP11)
        assert second.getpeercert(binary_form=True) != before
        authority.key.write_text("no key")
        with capture_logs() as logs:
            third = await connect_tls(authority, served, HTTP11)
        assert third.getpeercert(binary_form=True) == second.getpeercert(binary_form=True)
        assert [entry["event"] for entry in logs] == ["front.certificate_refused"]
        for stream in (first, second, third):
            await trio.aclose_forcefully(stream)


NO_KEY = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"
NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("key", "", "The file {key} holds no private key in PEM that can be read."),
        ("key", "garbage", "The file {key} holds no private key in PEM that can be read."),
        ("key", NO_KEY, "The file {key} holds no private key in PEM that can be read."),
        ("certificate", "garbage", "The file {certificate} holds no certificate in PEM."),
        ("certificate", NO_CERTIFICATE, "The file {certificate} holds no certificate in PEM."),
    ],
)
def test_of_two_files_the_bad_one_is_named(authority: Authority, file: str, text: str, told: str) -> None:
    (authority.key if file == "key" else authority.certificate).write_text(text)
    assert refusal(authority) == told.format(certificate=authority.certificate, key=authority.key)


@pytest.mark.parametrize("file", ["certificate", "key"])
def test_a_file_that_cannot_be_read_is_named(authority: Authority, file: str) -> None:
    path = authority.key if file == "key" else authority.certificate
    path.unlink()
    assert refusal(authority) == f"There is no file {path}."
    path.mkdir()
    assert refusal(authority) == f"The file {path} cannot be read: Is a directory."


def test_files_that_do_not_fit_are_told_so(authority: Authority) -> None:
    certificate, key = authority.certificate, authority.key
    for other in (trustme.KeyType.ECDSA, trustme.KeyType.RSA):
        issued = trustme.CA().issue_cert("127.0.0.1", key_type=other)
        key.write_bytes(issued.private_key_pem.bytes())
        assert refusal(authority) == f"The key {key} does not belong to the certificate {certificate}."
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    assert refusal(authority) == f"The key {key} cannot be used: the key is protected by a password."
    authority.issue()
    with pytest.raises(CertificateError, match=r"the two files may be swapped\.$"):
        Certificates(certificate=key, key=certificate)


def refusal(authority: Authority) -> str:
    with pytest.raises(CertificateError) as raised:
        Certificates(authority.certificate, authority.key)
    return str(raised.value)


class Http2Client:
    """One HTTP/2 connection that may send what no client should."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.h2.initiate_connection()
        self.events: list[h2.events.Event] = []

    @classmethod
    async def connect(cls, authority: Authority, served: RunningFront) -> Http2Client:
        stream = await connect_tls(authority, served, HTTP2)
        assert stream.selected_alpn_protocol() == HTTP2
        return cls(stream)

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def ask(self, headers: list[tuple[bytes, bytes]], *, end: bool = True) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=end)
        await self.flush()
        return stream_id

    async def read_until(self, kind: type[h2.events.Event], stream_id: int | None = None) -> None:
        while not any(
            isinstance(event, kind) and (stream_id is None or getattr(event, "stream_id", None) == stream_id)
            for event in self.events
        ):
            data = await self.stream.receive_some()
            assert data, f"closed after {self.events}"
            self.events += self.h2.receive_data(data)
            await self.flush()


def get(path: bytes = b"/", method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [(b":method", method), (b":scheme", b"https"), (b":authority", b"a"), (b":path", path)]


STRANGE = {
    "CONNECT without a path": [(b":method", b"CONNECT"), (b":authority", b"a")],
    "non-ASCII path": get(b"/\xe9"),
    "no slash": get(b"a"),
    "asterisk": get(b"*", b"OPTIONS"),
    "non-ASCII method": get(method=b"G\xe9T"),
}


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE.keys())
async def test_a_stream_that_is_no_request_costs_no_other(
    authority: Authority, headers: list[tuple[bytes, bytes]]
) -> None:
    async with serving_tls(authority, App()) as served:
        client = await Http2Client.connect(authority, served)
        strange = await client.ask(headers)
        await client.read_until(h2.events.StreamReset, strange)
        good = await client.ask(get())
        await client.read_until(h2.events.StreamEnded, good)
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize(("size", "status"), [(-1, "200"), (0, "200"), (1, "431"), (20_000, "431")])
async def test_a_head_has_the_bound_that_it_has_in_http11(
    authority: Authority, size: int, status: str
) -> None:
    async with serving_tls(authority, App()) as served:
        client = await Http2Client.connect(authority, served)
        headers = [*get(), (b"x", b"")]
        room = LIMITS.max_header_bytes - sum(len(name) + len(value) + 4 for name, value in headers)
        asked = await client.ask([*get(), (b"x", b"a" * (room + size))])
        await client.read_until(h2.events.StreamEnded, asked)
        answers = [event for event in client.events if isinstance(event, h2.events.ResponseReceived)]
        assert [str(value) for name, value in answers[0].headers or () if str(name) == ":status"] == [status]
        good = await client.ask(get())
        await client.read_until(h2.events.StreamEnded, good)
        await trio.aclose_forcefully(client.stream)


async def test_a_body_after_its_answer_costs_no_other_stream(authority: Authority) -> None:
    async with serving_tls(authority, App()) as served:
        client = await Http2Client.connect(authority, served)
        early = await client.ask(get(method=b"POST"), end=False)
        await client.read_until(h2.events.StreamEnded, early)
        for _ in range(20):
            client.h2.send_data(early, bytes(1000))
            await client.flush()
        good = await client.ask(get())
        await client.read_until(h2.events.StreamEnded, good)
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize(
    "waited_for", ["body_timeout_seconds", "send_timeout_seconds", "idle_timeout_seconds"]
)
async def test_a_peer_that_lets_one_wait_is_left(authority: Authority, waited_for: str) -> None:
    async with serving_tls(authority, App(), **{waited_for: SHORT_SECONDS * 4}) as served:
        client = await Http2Client.connect(authority, served)
        if waited_for == "body_timeout_seconds":
            await client.ask(get(b"/echo", b"POST"), end=False)
        elif waited_for == "send_timeout_seconds":
            client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
            await client.ask(get())
        else:
            good = await client.ask(get())
            await client.read_until(h2.events.StreamEnded, good)
        with trio.fail_after(PATIENCE_SECONDS):
            await read_to_the_end(client.stream)
        with contextlib.suppress(AssertionError):
            await served.assert_alive()


async def test_frames_that_are_none_end_the_connection_alone(authority: Authority) -> None:
    with capture_logs() as logs:
        async with serving_tls(authority, App()) as served:
            other = await Http2Client.connect(authority, served)
            client = await Http2Client.connect(authority, served)
            await client.flush()
            await client.stream.send_all(bytes(range(256)) * 10)
            await read_to_the_end(client.stream)
            flood = await Http2Client.connect(authority, served)
            await flood.flush()
            with contextlib.suppress(trio.BrokenResourceError):
                for number in range(1100):
                    frame = b"\x00\x00\x05\x02\x00" + (2 * number + 1).to_bytes(4, "big") + b"\0\0\0\0\x10"
                    await flood.stream.send_all(frame)
                await read_to_the_end(flood.stream)
            good = await other.ask(get())
            await other.read_until(h2.events.StreamEnded, good)
            await trio.aclose_forcefully(other.stream)
    assert not [entry for entry in logs if entry["log_level"] == "error"]


def test_what_is_a_request() -> None:
    assert _is_request(get())
    assert _is_request(get(method=b"M-SEARCH"))
    for headers in STRANGE.values():
        assert not _is_request(headers)
