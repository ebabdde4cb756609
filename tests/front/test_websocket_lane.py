"""One WebSocket over a real socket: talking, every way to end it, and clients that misbehave in bytes."""

from __future__ import annotations

import gc
import random
from collections import Counter

import msgspec
import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from handlers.websocket import MessageProblem, SessionEnds, UpgradeRequest
from tests.front.raw_http import LIMITS
from tests.front.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MOST_ANSWERS,
    PING,
    PONG,
    TEXT,
    RawSocket,
    Session,
    close_payload,
    frame,
    frame_header,
    serving_sockets,
    upgrade,
)
from tests.front.test_frames import MALFORMED
from ticketd.front.app_tasks import AppTasks
from ticketd.front.heads import Head
from ticketd.front.http11 import PlainHttp11
from ticketd.front.intake import Intake
from ticketd.front.upgrade import UpgradeHead
from ticketd.front.websocket_conversation import CLOSE_SECONDS, FRAMES_A_TURN, MESSAGES_A_TURN


class TestTalking:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 4096])
    async def test_text_comes_back(self, size: int) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.echo(b"x" * size)
            await client.echo("é€😀".encode())

    async def test_message_in_fragments_with_a_ping_between(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"one \xe2", fin=False)
            await client.say(CONTINUATION, b"\x82", fin=False)
            await client.say(PING, b"there?")
            assert await client.hear() == (PONG, b"there?")
            await client.say(CONTINUATION, b"\xac")
            assert await client.hear() == (TEXT, "one €".encode())

    async def test_message_larger_than_64_kib_goes_out_whole(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.echo(b"hello")
            sockets.app.session.say(b"x" * 200_000)
            assert await client.hear() == (TEXT, b"x" * 200_000)

    async def test_pong_that_nobody_asked_for_means_nothing(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(PONG, b"?")
            await client.say(PONG, b"\x00\x00\x00\x00")
            await client.echo(b"hello")

    async def test_pings_that_are_not_read_queue_up_no_pongs(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            flood = frame(PING, b"p" * 125) * 500
            for _ in range(100):
                await client.send(flood)
            await client.say(PING, b"last")
            pongs = 0
            while (await client.hear()) != (PONG, b"last"):
                pongs += 1
            assert pongs < 50_000
            await client.echo(b"hello")

    async def test_many_at_once_each_get_their_own(self) -> None:
        async with serving_sockets() as sockets:
            clients = [await sockets.open() for _ in range(20)]
            for turn in range(5):
                for number, client in enumerate(clients):
                    await client.say(TEXT, b"%d of %d" % (turn, number))
                for number, client in enumerate(clients):
                    assert await client.hear() == (TEXT, b"%d of %d" % (turn, number))


class TestClosing:
    @pytest.mark.parametrize(
        "payload", [b"", close_payload(1000), close_payload(1001, b"tab closed"), close_payload(4999)]
    )
    async def test_close_of_the_client_is_answered_with_its_code(self, payload: bytes) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(CLOSE, payload)
            assert await client.hear() == (CLOSE, payload[:2])
            assert await client.read_rest() == b""

    @pytest.mark.parametrize(("ask", "code"), [(b"end", 4000), (b"end-later", 4001)])
    async def test_session_ends_after_what_it_has_in_line(self, ask: bytes, code: int) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"a")
            await client.say(TEXT, ask)
            expected = [b"a", b"last words"] if ask == b"end" else [b"a"]
            texts = []
            while (heard := await client.hear())[0] == TEXT:
                texts.append(heard[1])
            assert (texts, heard[0], heard[1][:2]) == (expected, CLOSE, close_payload(code))
            await client.say(CLOSE, heard[1])
            assert await client.read_rest() == b""

    async def test_close_that_came_behind_the_last_message_is_not_waited_for_again(
        self, mock_clock: MockClock
    ) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.send(frame(TEXT, b"end") + frame(PING) + frame(CLOSE, close_payload(1000)))
            assert await client.expect_close(4000) == [b"last words"]

    @pytest.mark.parametrize("ask", [b"fail", b"fail-later"])
    async def test_session_that_fails_is_1011_and_its_words_are_not_logged(
        self, ask: bytes, mock_clock: MockClock
    ) -> None:
        with capture_logs() as logs:
            async with serving_sockets() as sockets:
                client = await sockets.open()
                await client.say(TEXT, ask)
                heard = await client.hear()
                assert (heard[0], heard[1][:2]) == (CLOSE, close_payload(1011))
                await client.say(CLOSE, heard[1])
                assert await client.read_rest() == b""
                await sockets.served.assert_alive()
        assert "front.session_failed" in [entry["event"] for entry in logs]
        assert "secret" not in repr(logs)

    @pytest.mark.parametrize("answer", [b"", frame(TEXT, b"still talking"), frame(PING), b"\xff\xff"])
    async def test_client_that_does_not_answer_a_close_is_left(
        self, answer: bytes, mock_clock: MockClock
    ) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"end")
            assert await client.hear() == (TEXT, b"last words")
            assert (await client.hear())[0] == CLOSE
            await client.send(answer)
            await wait_all_tasks_blocked()
            assert sockets.app.session.closed == 0
            mock_clock.jump(CLOSE_SECONDS * 1.01)
            await client.read_rest()
            mock_clock.jump(2)
            await sockets.app.session.over.wait()

    @pytest.mark.parametrize(
        ("sent", "code", "problem"),
        [
            (frame(BINARY, b"b"), 1003, MessageProblem.NOT_TEXT),
            (frame(BINARY), 1003, MessageProblem.NOT_TEXT),
            (frame_header(TEXT, 4097), 1009, MessageProblem.TOO_LARGE),
            (frame(TEXT, b"x" * 100_000), 1009, MessageProblem.TOO_LARGE),
            (
                frame(TEXT, b"x" * 4000, fin=False) + frame(CONTINUATION, b"x" * 97),
                1009,
                MessageProblem.TOO_LARGE,
            ),
        ],
    )
    async def test_message_that_cannot_be_taken_is_told_to_the_session_first(
        self, sent: bytes, code: int, problem: MessageProblem
    ) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.send(frame(TEXT, b"before") + sent)
            assert await client.expect_close(code) == [b"before", b"refused " + problem.name.encode()]
            assert sockets.app.session.refused == [problem]
            assert sockets.app.session.received == ["before"]

    @pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
    async def test_malformed_frame_is_1002(self, sent: bytes) -> None:
        with capture_logs() as logs:
            async with serving_sockets() as sockets:
                client = await sockets.open()
                await client.send(sent)
                await client.expect_close(1002)
                await sockets.served.assert_alive()
        assert not [entry for entry in logs if entry["log_level"] == "error"]

    async def test_text_that_is_no_utf8_is_1007(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"\xff")
            await client.expect_close(1007)

    @pytest.mark.parametrize("piece", [b"", b"a"])
    async def test_fragments_without_end_are_1008(self, piece: bytes) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.send(frame(TEXT, piece, fin=False) + frame(CONTINUATION, piece, fin=False) * 100)
            await client.expect_close(1008)

    @pytest.mark.parametrize("how", ["close", "half-close", "reset"])
    @pytest.mark.parametrize("sent", [b"", frame(TEXT, b"a"), frame(TEXT, b"a")[:4], frame_header(TEXT, 9)])
    async def test_client_that_drops_the_connection(self, how: str, sent: bytes) -> None:
        with capture_logs() as logs:
            async with serving_sockets() as sockets:
                client = await sockets.open()
                await client.send(sent)
                if how == "close":
                    await client.close()
                elif how == "half-close":
                    await client.stream.send_eof()
                else:
                    client.reset()
                await sockets.app.session.over.wait()
                await sockets.served.assert_alive()
        assert not [entry for entry in logs if entry["log_level"] == "error"]


class TestWhatIsKept:
    @pytest.mark.parametrize("front", ["fast", "hypercorn"], indirect=True)
    async def test_silent_websocket_has_one_task_and_nothing_of_its_request(self, front: str) -> None:
        count = 20
        async with serving_sockets() as sockets:
            await wait_all_tasks_blocked()
            before = trio.lowlevel.current_statistics().tasks_living
            for number in range(count):
                client = await sockets.open()
                await client.echo(b"hello %d" % number)
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == before + count
            sockets.app.requests.clear()
            gc.collect()
            of_requests = (UpgradeHead, UpgradeRequest, Head, Intake, PlainHttp11, AppTasks)
            assert [one for one in gc.get_objects() if isinstance(one, of_requests)] == []

    async def test_socket_that_has_room_again_has_one_task_again(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.echo(b"hello")
            await wait_all_tasks_blocked()
            quiet = trio.lowlevel.current_statistics().tasks_living
            large = b"x" * 4_000_000
            sockets.app.session.say(large)
            await wait_all_tasks_blocked(0.01)
            assert trio.lowlevel.current_statistics().tasks_living == quiet + 1
            await client.say(PING, b"there?")
            assert await client.hear() == (TEXT, large)
            assert await client.hear() == (PONG, b"there?")
            await wait_all_tasks_blocked(0.01)
            assert trio.lowlevel.current_statistics().tasks_living == quiet


async def cancel_when_all_wait(scope: trio.CancelScope) -> None:
    """Ends what would wait for ever."""
    await wait_all_tasks_blocked(0.2)
    scope.cancel()


class TestTurns:
    async def test_session_that_has_much_to_say_lets_others_have_their_turn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = 0
        messages: Counter[int] = Counter()

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.sleep(0)

        def say(session: Session) -> bytes | None:
            messages[turns] += 1
            return b"x" if messages.total() <= 1000 else None

        monkeypatch.setattr(Session, "next_message", say)
        async with serving_sockets() as sockets, trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            client = await sockets.open()
            for _ in range(1000):
                assert await client.hear() == (TEXT, b"x")
            nursery.cancel_scope.cancel()
        assert max(messages.values()) <= 2 * MESSAGES_A_TURN

    async def test_client_that_says_much_at_once_lets_others_have_their_turn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turns = 0
        messages: Counter[int] = Counter()

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.sleep(0)

        def receive(session: Session, message: str) -> None:
            messages[turns] += 1

        monkeypatch.setattr(Session, "receive", receive)
        async with serving_sockets() as sockets, trio.open_nursery() as nursery:
            nursery.start_soon(count_turns)
            client = await sockets.open()
            await client.send(frame(TEXT) * 1000)
            while messages.total() < 1000:  # noqa: ASYNC110  # it is done in turns
                await trio.sleep(0)
            nursery.cancel_scope.cancel()
        assert max(messages.values()) <= 2 * FRAMES_A_TURN

    @pytest.mark.parametrize("count", [MOST_ANSWERS, MOST_ANSWERS + 1, 20 * MOST_ANSWERS])
    async def test_a_burst_of_messages_is_answered_though_the_session_takes_a_few_at_a_time(
        self, count: int, mock_clock: MockClock
    ) -> None:
        # The clock stands still: whatever waits for a ping waits for ever.
        async with serving_sockets() as sockets:
            socket = await sockets.open()
            await socket.send(b"".join(frame(TEXT, b"%d" % number) for number in range(count)))
            with trio.CancelScope() as patience:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_when_all_wait, patience)
                    for number in range(count):
                        assert await socket.hear() == (TEXT, b"%d" % number)
                    nursery.cancel_scope.cancel()
            assert not patience.cancelled_caught

    async def test_who_does_not_read_and_is_not_listened_to_is_heard_in_order_later(self) -> None:
        large = b"x" * 4_000_000
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.say(TEXT, b"wait")
            await wait_all_tasks_blocked(0.01)
            session = sockets.app.session
            session.say(large)
            for said in (b"next", b"later"):
                await client.say(TEXT, said)
                await wait_all_tasks_blocked(0.01)
            assert session.received == ["wait"]
            sockets.app.open_gate()
            assert [(await client.hear())[1] for _ in range(3)] == [large, b"next", b"later"]


class TestNewsFromOutside:
    """The hub's task sends for all: nothing that becomes of one may reach it."""

    async def test_session_that_fails_ends_alone(self, mock_clock: MockClock) -> None:
        with capture_logs() as logs:
            async with serving_sockets() as sockets:
                client, other = await sockets.open(), await sockets.open()
                await client.echo(b"hello")
                await other.echo(b"hello")
                failing, well = sockets.app.sessions
                failing.ends = ValueError("secret-token")
                for session in (failing, well):
                    session.say(b"news")
                assert [await one.hear() for one in (client, other)] == [(TEXT, b"news")] * 2
                failing.tell()
                heard = await client.hear()
                assert (heard[0], heard[1][:2]) == (CLOSE, close_payload(1011))
                await client.say(CLOSE, heard[1])
                assert await client.read_rest() == b""
                await other.echo(b"still here")
        assert "front.session_failed" in [entry["event"] for entry in logs]
        assert "secret" not in repr(logs)

    async def test_client_that_is_gone(self) -> None:
        async with serving_sockets() as sockets:
            client, other = await sockets.open(), await sockets.open()
            await other.echo(b"hello")
            client.reset()
            # Before the connection's own task has seen it.
            for _ in range(3):
                for session in sockets.app.sessions:
                    session.say(b"news")
            assert [await other.hear() for _ in range(3)] == [(TEXT, b"news")] * 3
            await sockets.app.sessions[0].over.wait()

    async def test_what_is_told_after_the_end_is_not_sent(self, mock_clock: MockClock) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.echo(b"hello")
            session = sockets.app.session
            session.ends = SessionEnds(4002, "over")
            session.tell()
            session.flood = b"too late"
            session.tell()
            assert (await client.hear())[0] == CLOSE
            await client.close()


class TestStopping:
    async def test_it_is_1001(self) -> None:
        async with serving_sockets() as sockets:
            client = await sockets.open()
            await client.echo(b"hello")
            sockets.served.stop.set()
            heard = await client.hear()
            assert (heard[0], heard[1][:2]) == (CLOSE, close_payload(1001))
            await client.say(CLOSE, heard[1])
            assert await client.read_rest() == b""
            await sockets.served.ended.wait()

    async def test_clients_that_read_nothing_and_one_that_is_being_served_do_not_hold_it_up(
        self, mock_clock: MockClock
    ) -> None:
        limits = msgspec.structs.replace(LIMITS, shutdown_seconds=4)
        with capture_logs() as logs:
            async with serving_sockets(limits) as sockets:
                for ask in (b"flood 200", b"flood 300000", b"wait", b"hello"):
                    client = await sockets.open()
                    await client.send(frame(TEXT, ask) + frame(TEXT, b"next"))
                await wait_all_tasks_blocked()
                sockets.served.stop.set()
                await wait_all_tasks_blocked()
                mock_clock.jump(2.01)  # for the close frames,
                await wait_all_tasks_blocked()
                mock_clock.jump(1.01)  # and for what still comes in.
                await sockets.served.ended.wait()
        assert "front.cut_off" not in [entry["event"] for entry in logs]

    async def test_upgrade_that_is_judged_meanwhile_is_closed_with_1001(self) -> None:
        async with serving_sockets() as sockets:
            sockets.app.judging = trio.Event()
            client = await sockets.connect()
            await client.send(upgrade())
            await wait_all_tasks_blocked()
            sockets.served.stop.set()
            await wait_all_tasks_blocked()
            sockets.app.judging.set()
            assert (await client.read_answer()).status == 101
            heard = await client.hear()
            assert heard[1][:2] == close_payload(1001)
            await client.close()


@pytest.mark.parametrize("seed", range(20))
async def test_random_bytes_end_no_more_than_their_connection(seed: int) -> None:
    chance = random.Random(seed)
    with capture_logs() as logs:
        async with serving_sockets() as sockets:
            for _ in range(10):
                client = await sockets.open()
                await client.send(b"".join(random_piece(chance) for _ in range(chance.randint(1, 12))))
                await client.stream.send_eof()
                await client.read_rest()
            await sockets.served.assert_alive()
            other = await sockets.open()
            await other.echo(b"hello")
    assert not [entry for entry in logs if entry["log_level"] == "error"]


def random_piece(chance: random.Random) -> bytes:
    payload = chance.randbytes(chance.choice((0, 1, 2, 3, 125, 126, 4096, 4097)))
    good = frame(
        chance.choice((TEXT, CONTINUATION, PING, PONG)), b"a" * len(payload), fin=chance.random() < 0.7
    )
    match chance.randrange(5):
        case 0:
            return chance.randbytes(chance.randint(1, 300))
        case 1:
            return frame(
                chance.randrange(16), payload, fin=chance.random() < 0.7, rsv=chance.choice((0, 0, 0, 1, 4))
            )
        case 2:
            spoiled = bytearray(good)
            spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
            return bytes(spoiled)
        case _:
            return good


async def test_others_are_served_while_some_misbehave() -> None:
    async with serving_sockets() as sockets:
        bad: list[RawSocket] = []
        for sent in (
            frame(TEXT, b"flood 200"),
            frame(TEXT, b"wait") + frame(TEXT, b"next"),
            frame(TEXT, b"a")[:3],
            frame(PING, b"p" * 125) * 2000,
        ):
            client = await sockets.open()
            await client.send(sent)
            bad.append(client)
        good = await sockets.open()
        for _ in range(20):
            await good.echo(b"hello")
        await sockets.served.assert_alive()
