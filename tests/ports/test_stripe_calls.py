"""One call of Stripe: what each error means, how often and when it is tried again, and what is known at the end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, NoReturn

import httpx
import msgspec
import pytest
import stripe
import trio
from trio.testing import MockClock

from ticketd.ports.payments import GatewayUnavailable, IdempotencyMismatch
from ticketd.ports.stripe_answers import StripeRefund
from ticketd.ports.stripe_calls import (
    KEYS_AT_MOST,
    TRIES_AT_MOST,
    Ask,
    KeySpent,
    StripeAccount,
    StripeCalls,
    step_key,
)
from ticketd.ports.stripe_faults import StripeRefusal

DONE = msgspec.json.encode({"id": "re_1", "object": "refund", "amount": 5})
Answer = tuple[int, Mapping[str, str], bytes]
Said = Answer | Exception

BUSY: Final[Answer] = (429, {}, b'{"error": {"type": "invalid_request_error", "code": "rate_limit"}}')
BROKEN: Final[Answer] = (500, {}, b'{"error": {"type": "api_error"}}')


class Wire(httpx.AsyncBaseTransport):
    """Answers in the order given, ``DONE`` at the end; notes when it was asked, under which key."""

    def __init__(self, *said: Said, seconds: float = 0.0) -> None:
        self.said = list(said)
        self.seconds = seconds
        self.asked: list[tuple[float, str | None]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((trio.current_time(), request.headers.get("idempotency-key")))
        await trio.sleep(self.seconds)
        said = self.said.pop(0) if self.said else (200, {}, DONE)
        if isinstance(said, Exception):
            raise said
        return httpx.Response(said[0], headers=said[1], content=said[2])

    @property
    def waits(self) -> list[float]:
        times = [at for at, _ in self.asked]
        return [round(later - at, 3) for at, later in itertools.pairwise(times)]


def calls_over(wire: Wire, *, timeout_seconds: float = 100, calls_per_second: int = 1000) -> StripeCalls:
    account = StripeAccount(
        api_key="sk_test_1",
        api_base="http://stripe.test",
        timeout_seconds=timeout_seconds,
        calls_at_once=10,
        calls_per_second=calls_per_second,
    )
    calls = StripeCalls(account, jitter=lambda: 1.0)
    calls._http._client_async = httpx.AsyncClient(transport=wire)
    return calls


async def refund(calls: StripeCalls, key: str = "k", *, changes: bool = True) -> StripeRefund | StripeRefusal:
    ask = Ask(
        endpoint="refund",
        send=lambda: calls.v1.refunds.create_async({"payment_intent": "pi_1"}, {"idempotency_key": key}),
        changes=changes,
    )
    return await calls.ask(ask, StripeRefund, calls.deadline())


async def unavailable(wire: Wire, **settings: float) -> GatewayUnavailable:
    with pytest.raises(GatewayUnavailable) as caught:
        await refund(calls_over(wire, **settings))  # type: ignore[arg-type]  # seconds
    return caught.value


pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


# --- what an error means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "effect_possible"),
    [
        (httpx.ConnectError("refused"), False),
        (httpx.ConnectTimeout("no route"), False),
        (httpx.PoolTimeout("no connection is free"), False),
        (httpx.ReadTimeout("no answer"), True),
        (httpx.ReadError("reset"), True),
        (httpx.WriteError("reset"), True),
        (httpx.RemoteProtocolError("closed without an answer"), True),
        (BUSY, False),
        ((400, {}, b'{"error": {"type": "invalid_request_error", "code": "rate_limit"}}'), False),
        ((429, {}, b'{"error": {"code": "lock_timeout"}}'), False),
        ((409, {}, b'{"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}'), True),
        (BROKEN, True),
        ((502, {}, b"<html>Bad Gateway</html>"), True),
        ((503, {}, b'{"error": {"type": "api_error"}}'), True),
        ((401, {}, b'{"error": {"type": "invalid_request_error"}}'), False),
        ((403, {}, b'{"error": {"type": "invalid_request_error"}}'), False),
        ((200, {}, b"no JSON"), True),
        ((200, {}, b'{"object": "refund"}'), True),
        ((302, {}, b""), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value)[:5],
)
async def test_what_is_known_after_an_error(
    autojump_clock: MockClock, said: Said, effect_possible: bool
) -> None:
    trouble = await unavailable(Wire(*[said] * TRIES_AT_MOST))
    assert trouble.effect_possible is effect_possible
    assert trouble.__cause__ is None
    assert "sk_test" not in str(trouble)


@pytest.mark.parametrize(
    ("status", "error", "refusal"),
    [
        (
            402,
            {"code": "card_declined", "decline_code": "lost_card"},
            StripeRefusal(status=402, code="card_declined", decline_code="lost_card"),
        ),
        (402, {}, StripeRefusal(status=402, code="declined")),
        (400, {"param": "amount"}, StripeRefusal(status=400, code="invalid_request", param="amount")),
        (404, {"code": "resource_missing"}, StripeRefusal(status=404, code="resource_missing")),
    ],
)
async def test_a_refusal_is_an_answer(
    autojump_clock: MockClock, status: int, error: dict[str, str], refusal: StripeRefusal
) -> None:
    wire = Wire((status, {}, msgspec.json.encode({"error": error})))
    assert await refund(calls_over(wire)) == refusal
    assert len(wire.asked) == 1


async def test_a_key_used_otherwise_is_a_mismatch(autojump_clock: MockClock) -> None:
    wire = Wire((400, {}, b'{"error": {"type": "idempotency_error"}}'))
    with pytest.raises(IdempotencyMismatch):
        await refund(calls_over(wire))
    assert len(wire.asked) == 1


async def test_what_only_reads_has_no_effect(autojump_clock: MockClock) -> None:
    with pytest.raises(GatewayUnavailable) as caught:
        await refund(calls_over(Wire(*[BROKEN] * TRIES_AT_MOST)), changes=False)
    assert caught.value.effect_possible is False


async def test_one_try_that_may_have_had_an_effect_is_enough(autojump_clock: MockClock) -> None:
    trouble = await unavailable(Wire(httpx.ReadError("reset"), *[BUSY] * (TRIES_AT_MOST - 1)))
    assert trouble.effect_possible is True


# --- trying again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [0, 1, TRIES_AT_MOST - 1])
async def test_it_is_tried_again_under_the_same_key(autojump_clock: MockClock, failures: int) -> None:
    wire = Wire(*[BROKEN] * failures)
    assert await refund(calls_over(wire)) == StripeRefund(id="re_1", amount=5)
    assert [key for _, key in wire.asked] == ["k"] * (failures + 1)
    assert wire.waits == [0.5, 1.0, 2.0][:failures]


@pytest.mark.parametrize(("status", "tries"), [(408, 1), (409, 2), (410, 1), (499, 1), (500, 2), (503, 2)])
async def test_what_may_help_a_second_time(autojump_clock: MockClock, status: int, tries: int) -> None:
    wire = Wire((status, {}, BROKEN[2]))
    if tries == 1:
        await unavailable(wire)
    else:
        await refund(calls_over(wire))
    assert len(wire.asked) == tries


async def test_no_more_than_so_many_tries(autojump_clock: MockClock) -> None:
    wire = Wire(*[BROKEN] * 10)
    with pytest.raises(GatewayUnavailable):
        await refund(calls_over(wire))
    assert len(wire.asked) == TRIES_AT_MOST


@pytest.mark.parametrize(
    ("said", "asked", "tries"),
    [
        (BROKEN, "false", 1),
        (BUSY, "false", 1),
        (BUSY, "true", 2),
        ((401, {}, b'{"error": {}}'), "true", 2),
        ((401, {}, b'{"error": {}}'), "perhaps", 1),
    ],
)
async def test_stripe_may_say_whether_to_try_again(
    autojump_clock: MockClock, said: tuple[int, Mapping[str, str], bytes], asked: str, tries: int
) -> None:
    wire = Wire((said[0], {"Stripe-Should-Retry": asked}, said[2]))
    if tries == 1:
        with pytest.raises(GatewayUnavailable):
            await refund(calls_over(wire))
    else:
        await refund(calls_over(wire))
    assert len(wire.asked) == tries


@pytest.mark.parametrize(
    ("retry_after", "wait"), [("7", 7.0), ("0", 0.5), ("-1", 0.5), ("soon", 0.5), ("\u0663", 0.5)]
)
async def test_stripe_may_say_when(autojump_clock: MockClock, retry_after: str, wait: float) -> None:
    wire = Wire((429, {"Retry-After": retry_after.encode().decode("latin-1")}, BUSY[2]))
    await refund(calls_over(wire))
    assert wire.waits == [wait]


@pytest.mark.parametrize(("retry_after", "tries"), [(8, 2), (9, 1), (10**30, 1)])
async def test_a_wait_beyond_the_deadline_is_the_end(
    autojump_clock: MockClock, retry_after: int, tries: int
) -> None:
    wire = Wire((429, {"Retry-After": str(retry_after)}, BUSY[2]))
    began = trio.current_time()
    if tries == 1:
        await unavailable(wire, timeout_seconds=10)
        assert trio.current_time() == began, "there is no use in waiting"
    else:
        await refund(calls_over(wire, timeout_seconds=10))
    assert len(wire.asked) == tries


@pytest.mark.parametrize(("timeout_seconds", "ends"), [(20, 19.0), (1, 0.9)])
async def test_no_answer_in_time(autojump_clock: MockClock, timeout_seconds: float, ends: float) -> None:
    began = trio.current_time()
    trouble = await unavailable(Wire(seconds=1000), timeout_seconds=timeout_seconds)
    assert trouble.effect_possible is True
    assert trio.current_time() - began == pytest.approx(ends)


async def test_no_turn_in_time_has_no_effect(autojump_clock: MockClock) -> None:
    wire = Wire()
    calls = calls_over(wire, timeout_seconds=1, calls_per_second=1)
    await refund(calls)
    with pytest.raises(GatewayUnavailable) as caught:
        await refund(calls)
    assert caught.value.effect_possible is False
    assert len(wire.asked) == 1


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [249, 250, 255])
def test_a_further_key_is_never_too_long(length: int) -> None:
    key = step_key("k" * length, "again")
    assert key == ("k" * length + ":again" if length == 249 else key)
    assert len(key) <= 255
    assert key == step_key("k" * length, "again")
    assert key != step_key("k" * (length - 1) + "j", "again")


KEPT: Final[Answer] = (500, {"Idempotent-Replayed": "true"}, BROKEN[2])


async def _never() -> NoReturn:
    raise AssertionError("there is no need to look")


async def test_a_fault_that_is_kept_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    wire = Wire(BROKEN, KEPT)
    with pytest.raises(KeySpent) as caught:
        await refund(calls_over(wire))
    assert caught.value.effect_possible is True
    assert len(wire.asked) == 2


async def test_the_next_key_comes_only_after_a_look(autojump_clock: MockClock) -> None:
    wire, looks = Wire(KEPT), 0
    calls = calls_over(wire)

    async def look() -> None:
        nonlocal looks
        looks += 1

    said = await calls.ask_until_known("k", lambda key: refund(calls, key), look)
    assert said == StripeRefund(id="re_1", amount=5)
    assert [key for _, key in wire.asked] == ["k", "k:again"]
    assert looks == 1


async def test_what_is_found_is_not_asked_for_anew(autojump_clock: MockClock) -> None:
    wire, found = Wire(KEPT), StripeRefund(id="re_0", amount=5)
    calls = calls_over(wire)

    async def look() -> StripeRefund:
        return found

    assert await calls.ask_until_known("k", lambda key: refund(calls, key), look) == found
    assert len(wire.asked) == 1


async def test_no_look_where_the_key_is_good(autojump_clock: MockClock) -> None:
    calls = calls_over(Wire())
    assert await calls.ask_until_known("k", lambda key: refund(calls, key), _never)


async def test_keys_come_to_an_end(autojump_clock: MockClock) -> None:
    wire = Wire(*[KEPT] * 10)
    calls = calls_over(wire)

    async def look() -> None:
        """Nothing."""

    with pytest.raises(KeySpent):
        await calls.ask_until_known("k", lambda key: refund(calls, key), look)
    assert len(wire.asked) == KEYS_AT_MOST


def test_the_sdk_tries_nothing_again_by_itself() -> None:
    calls = calls_over(Wire())
    assert calls._client._requestor._options.max_network_retries == 0
    assert calls._http._client is None, "no client that would block the loop"
    assert stripe.enable_telemetry is False
