"""Each fault on order, over a connection in memory: what the caller sees, what was done, and what the same key says
after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import h11
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from tests.stripe_judge.control import ledger
from tests.stripe_judge.desk import FORM, START, payment
from tests.stripe_judge.faults import Fault, FaultOrder, faults_ordered, order_fault, take_fault
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.server import serve_connection
from tests.stripe_judge.store import Store
from tests.stripe_judge.wire import Request

CREATE = "POST /v1/payment_intents"
CAPTURE = "POST /v1/payment_intents/{id}/capture"


@contextmanager
def judging(folder: Path) -> Iterator[Judge]:
    """A judge whose clock is Trio's."""
    began = trio.current_time()
    judge = Judge(folder / "judge.sqlite", wall=lambda: START + trio.current_time() - began)
    try:
        yield judge
    finally:
        judge.store.close()


async def speak(
    judge: Judge, path: str, key: str, form: dict[str, object] | None = None
) -> tuple[int, bool] | None:
    """Posts a form on a connection of its own: status, and whether it is told again; None if none comes."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_connection, judge, theirs)
        body = urlencode(form or {}).encode()
        http = h11.Connection(h11.CLIENT)
        headers = [
            *FORM.items(),
            ("host", "judge"),
            ("idempotency-key", key),
            ("content-length", str(len(body))),
        ]
        data = http.send(h11.Request(method="POST", target=path, headers=headers)) or b""
        data += http.send(h11.Data(data=body)) or b""
        await ours.send_all(data + (http.send(h11.EndOfMessage()) or b""))
        seen = await _first_answer(http, ours)
        await ours.aclose()
    return seen


async def _first_answer(http: h11.Connection, stream: trio.abc.Stream) -> tuple[int, bool] | None:
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError:
            return None  # The connection ended where an answer should have begun.
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            return event.status_code, (b"idempotent-replayed", b"true") in list(event.headers)
        else:
            return None


def order(judge: Judge, kind: Fault, *, endpoint: str = CREATE, **further: object) -> None:
    order_fault(judge.store, FaultOrder(endpoint=endpoint, kind=kind, **further))  # type: ignore[arg-type]  # the tests name real fields


async def create(judge: Judge, key: str = "k") -> tuple[int, bool] | None:
    return await speak(judge, "/v1/payment_intents", key, payment())


@pytest.mark.parametrize(
    ("kind", "seen", "done", "again"),
    [
        (Fault.TIMEOUT_BEFORE, None, 0, (200, False)),
        (Fault.TIMEOUT_AFTER, None, 1, (200, True)),
        (Fault.DROP_BEFORE, None, 0, (200, False)),
        (Fault.DROP_AFTER, None, 1, (200, True)),
        (Fault.ERROR_BEFORE, (500, False), 0, (500, True)),
        (Fault.ERROR_AFTER, (500, False), 1, (500, True)),
        (Fault.UNAVAILABLE_BEFORE, (503, False), 0, (200, False)),
        (Fault.UNAVAILABLE_AFTER, (503, False), 1, (200, True)),
        (Fault.RATE_LIMIT, (429, False), 0, (200, False)),
        (Fault.LOCK_TIMEOUT, (429, False), 0, (200, False)),
        (Fault.SLOW, (200, False), 1, (200, True)),
    ],
)
async def test_a_fault_and_the_same_key_after_it(
    autojump_clock: MockClock,
    tmp_path: Path,
    kind: Fault,
    seen: tuple[int, bool] | None,
    done: int,
    again: tuple[int, bool],
) -> None:
    with judging(tmp_path) as judge:
        order(judge, kind, seconds=30)
        began = trio.current_time()
        assert await create(judge) == seen
        held = kind in {Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.SLOW}
        assert trio.current_time() - began == pytest.approx(30 if held else 0, abs=0.1)
        assert [line.status for line in ledger(judge.store)] == ["requires_capture"] * done
        assert await create(judge) == again
        left = 0 if kind is Fault.ERROR_BEFORE else 1
        assert len(ledger(judge.store)) == left
        assert await create(judge, "another key") == (200, False)


async def test_what_is_slow_is_done_for_a_caller_who_has_gone(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    with judging(tmp_path) as judge:
        order(judge, Fault.SLOW, seconds=30)
        async with trio.open_nursery() as nursery:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(serve_connection, judge, theirs)
            body = urlencode(payment()).encode()
            head = "".join(f"{name}: {value}\r\n" for name, value in FORM.items())
            await ours.send_all(
                f"POST /v1/payment_intents HTTP/1.1\r\nhost: judge\r\n{head}idempotency-key: k\r\n"
                f"content-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await trio.sleep(10)
            await ours.aclose()
            assert ledger(judge.store) == []
            # The key is at work: neither the answer nor a second payment.
            assert await create(judge) == (409, False)
        assert len(ledger(judge.store)) == 1
        assert await create(judge) == (200, True)


async def test_what_was_refused_as_in_progress_is_not_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        order(judge, Fault.SLOW, seconds=5)
        seen: list[tuple[int, bool] | None] = []

        async def ask() -> None:
            seen.append(await create(judge))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            nursery.start_soon(ask)
        assert seen == [(409, False), (200, False)]
        assert await create(judge) == (200, True)
        assert len(ledger(judge.store)) == 1


async def test_two_at_one_payment_are_kept_apart(autojump_clock: MockClock, tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        await create(judge)
        (line,) = ledger(judge.store)
        path = f"/v1/payment_intents/{line.payment_intent}"
        order(judge, Fault.SLOW, endpoint=CAPTURE, seconds=5)
        seen: list[tuple[int, bool] | None] = []

        async def capture() -> None:
            seen.append(await speak(judge, f"{path}/capture", "capture"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(capture)
            await trio.sleep(1)
            assert await speak(judge, f"{path}/cancel", "cancel") == (429, False)
        assert seen == [(200, False)]
        assert await speak(judge, f"{path}/cancel", "cancel") == (400, False)


async def test_every_call_takes_its_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        judge.store.set(type(judge.call().behaviour)(latency_seconds=2))
        began = trio.current_time()
        await create(judge)
        assert trio.current_time() - began == pytest.approx(2, abs=0.1)


# --- which call it befalls ----------------------------------------------------------------------------------


def befallen(store: Store, calls: int, endpoint: str = CREATE) -> list[str | None]:
    taken = [take_fault(store, endpoint) for _ in range(calls)]
    return [None if order is None else order.kind.value for order in taken]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "judge.sqlite")
    yield opened
    opened.close()


def test_the_nth_call_and_so_many_after_it(store: Store) -> None:
    order_fault(store, FaultOrder(endpoint=CREATE, kind=Fault.SLOW, nth=3, times=2))
    assert befallen(store, 1, CAPTURE) == [None]
    assert befallen(store, 6) == [None, None, "slow", "slow", None, None]
    assert faults_ordered(store) == []


def test_every_order_counts_each_call_and_the_oldest_is_first(store: Store) -> None:
    order_fault(store, FaultOrder(endpoint=CREATE, kind=Fault.SLOW, nth=2))
    order_fault(store, FaultOrder(endpoint="*", kind=Fault.DROP_AFTER, nth=2, times=2))
    assert befallen(store, 4) == [None, "slow", "drop_after", "drop_after"]
    order_fault(store, FaultOrder(endpoint="*", kind=Fault.SLOW))
    assert befallen(store, 1, CAPTURE) == ["slow"]


async def test_a_fault_may_say_when_to_ask_again(tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        for kind, status in (
            (Fault.RATE_LIMIT, 429),
            (Fault.UNAVAILABLE_AFTER, 503),
            (Fault.ERROR_BEFORE, 500),
        ):
            order(judge, kind, endpoint="*", retry_after=7, should_retry=False)
            answer = await judge.answer(Request("GET", "/v1/balance", headers=FORM))
            assert answer is not None
            assert answer.status == status
            assert (answer.headers["Retry-After"], answer.headers["Stripe-Should-Retry"]) == ("7", "false")


# --- the wire -----------------------------------------------------------------------------------------------


async def test_what_is_no_http(tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, judge, theirs)
            await ours.send_all(b"\x00\r\n\r\n")
            assert (await ours.receive_some()).startswith(b"HTTP/1.1 400")
            await ours.aclose()


async def test_one_connection_carries_many_requests(tmp_path: Path) -> None:
    with judging(tmp_path) as judge:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_connection, judge, theirs)
            for _ in range(3):
                await ours.send_all(
                    b"GET /v1/balance HTTP/1.1\r\nhost: judge\r\nauthorization: Bearer sk_test_judge\r\n\r\n"
                )
                assert (await ours.receive_some()).startswith(b"HTTP/1.1 200")
            await ours.aclose()
