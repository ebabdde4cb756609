"""One WebSocket and the clock: pings, messages that never end, and readers that read nothing."""

from __future__ import annotations

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.front.raw_http import LIMITS
from tests.front.raw_websocket import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    ServedSockets,
    frame,
    serving_sockets,
)

TIMED = msgspec.structs.replace(
    LIMITS, ping_seconds=2, pong_timeout_seconds=3, stalled_seconds=6, body_timeout_seconds=4
)
UNPINGED = msgspec.structs.replace(TIMED, ping_seconds=1000)


async def pass_time(clock: MockClock, seconds: float) -> None:
    """Lets time pass in steps, everybody doing what is due in between."""
    for _ in range(round(seconds / 0.25)):
        await wait_all_tasks_blocked()
        clock.jump(0.25)
    await wait_all_tasks_blocked()


class TestPings:
    async def test_client_that_answers_stays(self, mock_clock: MockClock) -> None:
        async with serving_sockets(TIMED) as sockets:
            client = await sockets.open()
            payloads = set()
            for _ in range(4):
                await pass_time(mock_clock, 2)
                opcode, payload = await client.hear()
                assert opcode == PING
                payloads.add(payload)
                await pass_time(mock_clock, 2)
                await client.say(PONG, payload)
                await wait_all_tasks_blocked()
            assert len(payloads) == 4
            await client.echo(b"hello")

    async def test_no_ping_before_its_time(self, mock_clock: MockClock) -> None:
        async with serving_sockets(TIMED) as sockets:
            client = await sockets.open()
            await pass_time(mock_clock, 1.75)
            await client.echo(b"hello")
            await pass_time(mock_clock, 0.25)
            assert (await client.hear())[0] == PING

    @pytest.mark.parametrize(
        "answer", [b"", frame(PONG, b"another"), frame(PONG), frame(TEXT, b"a"), frame(PING)]
    )
    async def test_client_that_does_not_answer_is_closed(self, answer: bytes, mock_clock: MockClock) -> None:
        async with serving_sockets(TIMED) as sockets:
            client = await sockets.open()
            await pass_time(mock_clock, 2)
            assert (await client.hear())[0] == PING
            await client.send(answer)
            await pass_time(mock_clock, 2.75)
            assert sockets.app.session.closed == 0
            await pass_time(mock_clock, 1.5)
            assert sockets.app.session.closed == 1
            await client.expect_close(1013)

    async def test_pong_that_waits_behind_a_message_still_counts(self, mock_clock: MockClock) -> None:
        async with serving_sockets(TIMED) as sockets:
            client = await sockets.open()
            await pass_time(mock_clock, 2)
            _, payload = await client.hear()
            await client.send(frame(TEXT, b"wait") + frame(TEXT, b"next") + frame(PONG, payload))
            await pass_time(mock_clock, 4)
            assert sockets.app.session.received == ["wait"]
            sockets.app.open_gate()
            assert await client.hear() == (TEXT, b"next")
            await client.echo(b"hello")


class TestMessagesWithoutEnd:
    @pytest.mark.parametrize(
        "begun", [frame(TEXT, b"a", fin=False), frame(TEXT, b"hello")[:-1], frame(TEXT, b"a")[:2]]
    )
    async def test_it_is_1008(self, begun: bytes, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.send(begun)
            await pass_time(mock_clock, 3.75)
            assert sockets.app.session.closed == 0
            await pass_time(mock_clock, 0.25)
            await client.expect_close(1008)

    async def test_fragments_and_pings_gain_no_time(self, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"", fin=False)
            for _ in range(7):
                await pass_time(mock_clock, 0.5)
                await client.send(frame(CONTINUATION, b"", fin=False) + frame(PING))
                assert (await client.hear())[0] == PONG
            await pass_time(mock_clock, 0.5)
            await client.expect_close(1008)

    async def test_each_message_has_its_own_time(self, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"a", fin=False)
            for _ in range(4):
                await pass_time(mock_clock, 3)
                # The end of one and the beginning of the next come in one read.
                await client.send(frame(CONTINUATION, b"b") + frame(TEXT, b"a", fin=False))
                assert await client.hear() == (TEXT, b"ab")

    async def test_silence_between_messages_has_no_end(self, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.echo(b"a")
            await pass_time(mock_clock, 12)
            await client.echo(b"b")


async def flooded(sockets: ServedSockets, size: int) -> int:
    """How many bytes a session gave away for a client that reads none of them."""
    session = sockets.app.sessions[-1]
    quiet = 0
    while quiet < 3:
        before = session.taken
        await wait_all_tasks_blocked(0.01)
        quiet = quiet + 1 if session.taken == before else 0
    return session.taken * size


class TestReadersThatReadNothing:
    @pytest.mark.parametrize("size", [200, 4000, 100_000])
    async def test_it_is_1013_behind_whole_messages(self, size: int, mock_clock: MockClock) -> None:
        with capture_logs() as logs:
            async with serving_sockets(UNPINGED) as sockets:
                client = await sockets.open()
                await client.say(TEXT, b"flood %d" % size)
                await flooded(sockets, size)
                await pass_time(mock_clock, 5.75)
                assert sockets.app.session.closed == 0
                # The kernel may have taken a last bit meanwhile, from which on the time runs anew.
                await pass_time(mock_clock, 8.5)
                texts = await client.expect_close(1013)
                assert sockets.app.session.closed == 1
                assert set(texts) == {b"x" * size}
                assert len(texts) == sockets.app.session.taken
        assert not [entry for entry in logs if entry["log_level"] == "error"]

    async def test_kernel_and_daemon_hold_little(self, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"flood 200")
            assert 0 < await flooded(sockets, 200) < 1_000_000

    async def test_message_is_asked_for_only_once_the_socket_has_room(
        self, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = trio.Event()
        monkeypatch.setattr("ticketd.front.outflow.has_room", lambda sock: room.is_set())
        monkeypatch.setattr("ticketd.front.websocket_conversation.wait_for_room", lambda sock: room.wait())
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"hello")
            await wait_all_tasks_blocked(0.01)
            assert (sockets.app.session.received, sockets.app.session.taken) == (["hello"], 0)
            room.set()
            assert await client.hear() == (TEXT, b"hello")

    async def test_reader_that_takes_a_little_now_and_then_stays(self, mock_clock: MockClock) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"flood 4000")
            for _ in range(4):
                await flooded(sockets, 4000)
                await pass_time(mock_clock, 4)
                for _ in range(100):
                    assert (await client.hear())[0] == TEXT
            assert sockets.app.session.closed == 0

    async def test_ping_waits_for_the_socket_and_so_does_its_pong(self, mock_clock: MockClock) -> None:
        limits = msgspec.structs.replace(TIMED, stalled_seconds=12)
        async with serving_sockets(limits) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"flood 4000")
            await flooded(sockets, 4000)
            await pass_time(mock_clock, 8)
            assert sockets.app.session.closed == 0
            sockets.app.session.flood = None
            while (heard := await client.hear())[0] == TEXT:
                pass
            assert heard[0] == PING
            await client.say(PONG, heard[1])
            await pass_time(mock_clock, 1)
            await client.echo(b"hello")

    async def test_close_of_a_client_that_reads_nothing_is_answered_behind_what_was_sent(
        self, mock_clock: MockClock
    ) -> None:
        async with serving_sockets(UNPINGED) as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"flood 100000")
            await flooded(sockets, 100_000)
            await client.say(CLOSE, b"\x03\xe8")
            assert set(await client.expect_close(1000)) == {b"x" * 100_000}
