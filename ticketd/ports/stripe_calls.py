"""One call of Stripe through its SDK: in its turn, within its time, tried again under the same key.

True here: the SDK neither tries again by itself, nor logs, nor tells Stripe of this machine; what it sends goes through
httpx on this loop alone. A call that fails raises GatewayUnavailable, which knows whether *any* of its tries may have
had an effect. What is asked, and what an answer means for a payment, are ``stripe_payments``'.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
import stripe
import structlog
import trio
from stripe import _util as sdk_log

from ticketd.ports.payments import MAX_KEY_CHARACTERS, GatewayUnavailable
from ticketd.ports.stripe_answers import StripeAnswer
from ticketd.ports.stripe_faults import StripeRefusal, StripeTrouble, read_fault
from ticketd.ports.stripe_turns import StripeTurns, TooBusy

TRIES_AT_MOST: Final = 4
FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 4.0

KEYS_AT_MOST: Final = 3

A = TypeVar("A", bound=StripeAnswer)
T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)
_jitter: Final = random.SystemRandom()


class KeySpent(GatewayUnavailable):
    """Stripe failed while it did what was asked, and answers that to the key for ever: the call is over, and whether it
    had an effect is seen by looking."""


class StripeAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom Stripe is called, and how much at a time. ``timeout_seconds`` bounds an operation of the
    port, whatever calls it is made of."""

    api_key: str
    api_base: str
    timeout_seconds: float
    calls_at_once: int
    calls_per_second: int

    def __repr__(self) -> str:
        return f"StripeAccount({self.api_base})"


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call to make. ``endpoint`` is what its rate is counted by; ``changes`` is False for one that only reads."""

    endpoint: str
    send: Callable[[], Awaitable[stripe.StripeObject]]
    changes: bool = True


def step_key(idempotency_key: str, step: str) -> str:
    """The key of a further call for the same intention: always the same, and never longer than a key may be."""
    key = f"{idempotency_key}:{step}"
    return key if len(key) <= MAX_KEY_CHARACTERS else hashlib.sha256(key.encode()).hexdigest()


class StripeCalls:
    """The way to Stripe. ``jitter`` gives numbers from 0 to 1."""

    def __init__(self, account: StripeAccount, jitter: Callable[[], float] = _jitter.random) -> None:
        _quieten_sdk()
        self._http = stripe.HTTPXClient(timeout=account.timeout_seconds)
        self._client = stripe.StripeClient(
            account.api_key,
            base_addresses={"api": account.api_base},
            http_client=self._http,
            max_network_retries=0,
        )
        # Ends before the caller's own limit, so that what is known of the effect is told.
        self._seconds = account.timeout_seconds - min(1.0, account.timeout_seconds / 10)
        self._turns = StripeTurns(account.calls_at_once, account.calls_per_second)
        self._jitter = jitter

    @property
    def v1(self) -> stripe.V1Services:
        """The SDK's calls."""
        return self._client.v1

    def deadline(self) -> float:
        """When an operation that begins now must end, on Trio's clock."""
        return trio.current_time() + self._seconds

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # as the SDK has it

    async def ask(self, ask: Ask, answer: type[A], deadline: float) -> A | StripeRefusal:
        """Makes the call, again where that may help. Raises GatewayUnavailable (KeySpent where no more
        will come of this key) and IdempotencyMismatch."""
        unsure = False
        for tried in range(1, TRIES_AT_MOST + 1):
            said = await self._try(ask, answer, deadline, unsure=unsure)
            if not isinstance(said, StripeTrouble):
                return said
            unsure = unsure or (ask.changes and said.effect_possible)
            if said.is_kept:
                raise KeySpent(said.what, effect_possible=unsure)
            delay = max(self._delay(tried), said.wait_seconds)
            if not said.may_retry or tried == TRIES_AT_MOST or trio.current_time() + delay >= deadline:
                self._tell(ask, said)
                raise GatewayUnavailable(said.what, effect_possible=unsure)
            await trio.sleep(delay)
        raise AssertionError("the last try returns or raises")

    async def ask_until_known(
        self, key: str, ask: Callable[[str], Awaitable[T]], look: Callable[[], Awaitable[T | None]]
    ) -> T:
        """``ask(key)``; where that key is spent, what ``look()`` finds was done, else the same under the next key.

        The next keys follow from the first, so that a repetition finds its way through the same ones.
        """
        for _ in range(KEYS_AT_MOST - 1):
            try:
                return await ask(key)
            except KeySpent as spent:
                _log.warning("stripe failed", problem=str(spent))
            if (found := await look()) is not None:
                return found
            key = step_key(key, "again")
        return await ask(key)

    async def _try(
        self, ask: Ask, answer: type[A], deadline: float, *, unsure: bool
    ) -> A | StripeRefusal | StripeTrouble:
        try:
            async with self._turns.turn(ask.endpoint, deadline):
                with trio.fail_at(deadline):
                    said = await ask.send()
        except TooBusy:
            raise GatewayUnavailable("stripe: too many calls are under way", effect_possible=unsure) from None
        except trio.TooSlowError:
            raise GatewayUnavailable(
                "stripe: no answer in time", effect_possible=unsure or ask.changes
            ) from None
        except stripe.StripeError as error:
            return read_fault(error)
        return _read(said, answer)

    def _delay(self, tried: int) -> float:
        """How long to wait after the ``tried``-th try: half to all of a time that doubles."""
        longest: float = min(FIRST_DELAY_SECONDS * 2 ** (tried - 1), LONGEST_DELAY_SECONDS)
        return longest * (1 + self._jitter()) / 2

    def _tell(self, ask: Ask, trouble: StripeTrouble) -> None:
        if trouble.is_ours:
            _log.error("stripe refuses the API key", endpoint=ask.endpoint, problem=trouble.what)


def _read(said: stripe.StripeObject, answer: type[A]) -> A | StripeTrouble:
    response = said.last_response
    try:
        return msgspec.json.decode("" if response is None else response.body, type=answer)
    except (msgspec.MsgspecError, UnicodeError):
        what = f"stripe: an answer that is no {answer.__name__}"
        return StripeTrouble(what=what, effect_possible=True, may_retry=False)


def _quieten_sdk() -> None:
    """The SDK may print what it sends, card tokens included, and tells Stripe what machine it runs on."""
    stripe.log = None
    sdk_log.STRIPE_LOG = None  # From the environment, and by print: no level of a logger holds it back.
    stripe.enable_telemetry = False
    for name in ("stripe", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
