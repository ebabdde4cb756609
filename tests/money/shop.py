"""A shop on trial: the real daemon sells with the gateway ``stripe`` whose API is the judge, each a process of its own.

Both outlive nothing but their files. The daemon is killed and started again on the same data folder; what is waited for
is a state that the store or the judge tells, never a length of time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx

from storage.schema.ids import EventId, OrderId
from storage.schema.records import OrderRecord
from tests.money.books import Books, disagreements, order_of, read_books, read_orders, reading
from tests.stripe_judge.behaviour import Delivery
from tests.stripe_judge.faults import Fault, FaultOrder
from tests.stripe_judge.process import API_KEY, JudgeProcess, running_judge
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd
from ticketd.places import SOCKET_FILE

EVENT: Final = EventId(UUID("0f0e0d0c-0b0a-4009-8807-060504030203"))
PATIENCE_SECONDS: Final = 120
HOOK_SECRET: Final = "whsec_judge"

AUTHORISE: Final = "POST /v1/payment_intents"
LOOK: Final = "GET /v1/payment_intents/{id}"
CAPTURE: Final = "POST /v1/payment_intents/{id}/capture"
VOID: Final = "POST /v1/payment_intents/{id}/cancel"
REFUND: Final = "POST /v1/refunds"

_ADDRESS: Final = {
    "street": "1 Quay",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}


def wait_for(what: Callable[[], bool], told: Callable[[], object] = str) -> None:
    """Returns once ``what`` is so; fails with what ``told`` says after a time in which anything should have ended."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end, told()
        time.sleep(0.02)


class Buyer:
    """Somebody in the room, with a card. Every request goes to whichever daemon runs now."""

    def __init__(self, shop: Shop, token: str = "tok_visa") -> None:
        self._shop = shop
        self.user, self._device = str(uuid4()), str(uuid4())
        wish = {"event_id": str(EVENT), "user_id": self.user, "device_fingerprint": self._device}
        joined = self._sent(shop.client.post("/v1/queue/join", json=wish), 200)
        self._token = str(joined["queue_token"])
        self._token = str(self._sent(self._ask("GET", "/v1/queue/status"), 200)["access_token"])
        self.card = "" if token == "" else self.add_card(token)
        self.hold: dict[str, Any] = {}

    def _ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        mine = {"Authorization": f"Bearer {self._token}", "X-Device-ID": self._device, **(headers or {})}
        return self._shop.client.request(method, path, json=body, headers=mine)

    @staticmethod
    def _sent(answer: httpx.Response, status: int) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def add_card(self, token: str) -> str:
        body = {"type": "CARD", "card_token": token, "billing_address": _ADDRESS}
        added = self._sent(self._ask("POST", "/v1/payment-methods", body), 201)
        self.card = str(added["payment_method_id"])
        return self.card

    def reserve(self, quantity: int = 1) -> dict[str, Any]:
        wish = {"event_id": str(EVENT), "user_id": self.user, "quantity": quantity}
        self.hold = self._sent(self._ask("POST", "/v1/seats/reserve", wish), 201)
        return self.hold

    def try_seats(self, seat_ids: list[str]) -> httpx.Response:
        """Asks for seats that are perhaps somebody else's."""
        wish = {"event_id": str(EVENT), "user_id": self.user, "seat_ids": seat_ids}
        return self._ask("POST", "/v1/seats/reserve", wish)

    def pay(self, key: str | None = None) -> httpx.Response:
        """Orders what is held; ``key`` is the request's Idempotency-Key."""
        body = {
            "reservation_id": self.hold["reservation_id"],
            "payment_method_id": self.card,
            "billing_address": _ADDRESS,
            "delivery_method": "MOBILE",
        }
        return self._ask("POST", "/v1/orders", body, {} if key is None else {"Idempotency-Key": key})

    def cancel(self, order_id: OrderId) -> httpx.Response:
        return self._ask("POST", f"/v1/orders/{order_id}/cancel")

    def look(self, order_id: OrderId) -> dict[str, Any]:
        return self._sent(self._ask("GET", f"/v1/orders/{order_id}"), 200)

    def order(self) -> OrderRecord | None:
        """The newest order of this buyer, as the store has it."""
        orders = [order for order in self._shop.orders().values() if str(order.user_id) == self.user]
        return max(orders, key=lambda order: order.created_at_ms, default=None)

    def order_id(self) -> OrderId:
        found = self.order()
        assert found is not None, "no order of this buyer"
        return found.order_id


class Shop:
    """The judge, the data folder, and the daemon that runs on it now."""

    def __init__(self, folder: Path, judge: JudgeProcess, stack: ExitStack, **payments: object) -> None:
        self.data, self.judge = folder / "data", judge
        # The daemon ends first, and with it the requests that the pool waits for.
        self._pool = stack.enter_context(ThreadPoolExecutor(max_workers=32))
        self._daemons = stack.enter_context(ExitStack())
        told = {"timeout_seconds": 60, "capture_retry_seconds": 1, "stripe_calls_per_second": 10_000}
        self._settings = {
            "gateway": "stripe",
            "stripe_api_key": API_KEY,
            "stripe_api_base": judge.url,
            "stripe_webhook_secret": HOOK_SECRET,
            **told,
            **payments,
        }
        self._key = ""
        self.daemon: DaemonProcess | None = None
        self.client = httpx.Client()

    @property
    def environ(self) -> dict[str, str]:
        named = {f"TICKETD_PAYMENTS_{name.upper()}": str(value) for name, value in self._settings.items()}
        return {"TICKETD_RATE_LIMITS_ENABLED": "false", "TICKETD_LOG_FORMAT": "json", **named}

    def prepare(self, rows: int, seats_each: int, hold_seconds: int) -> None:
        """Puts the event into the store: so many rows of so many seats, each at 500.00."""
        file = self.data.parent / "event.json"
        plan = arena_file(rows=[{"row": str(n), "first": 1, "last": seats_each} for n in range(1, rows + 1)])
        file.write_text(json.dumps({**plan, "event_id": str(EVENT), "hold_seconds": hold_seconds}))
        self.command("import", str(file))
        self._key = self.command("keys", "create", "--scope", "storefront")

    def command(self, *arguments: str) -> str:
        """What a command of ``ticketd`` prints; AssertionError unless it ends with 0."""
        done = ticketd(self.data, *arguments, environ=self.environ)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def operate(self, method: str, path: str) -> dict[str, Any]:
        """What the operator is answered on the daemon's socket; AssertionError unless it is 200."""
        way = httpx.HTTPTransport(uds=str(self.data / SOCKET_FILE))
        with httpx.Client(transport=way, base_url="http://ticketd", timeout=PATIENCE_SECONDS) as operator:
            answer = operator.request(method, f"/v1/operator{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    # --- the daemon ---------------------------------------------------------------------------------------------

    def start(self, **payments: object) -> None:
        """Starts the daemon; ``payments`` are settings that are other from now on."""
        self._settings.update(payments)
        self.daemon = self._daemons.enter_context(serving(self.data, environ=self.environ))
        self.client = self._daemons.enter_context(
            httpx.Client(
                base_url=self.daemon.url,
                headers={"X-API-Key": self._key},
                timeout=PATIENCE_SECONDS,
                limits=httpx.Limits(max_connections=64),
                trust_env=False,
            )
        )
        self.judge.send_webhooks(url=f"{self.daemon.url}/v1/webhooks/stripe", secret=HOOK_SECRET)

    def kill(self) -> None:
        """``kill -9``: whatever was under way is over, and nobody tidied."""
        assert self.daemon is not None
        self.daemon.kill()
        self._daemons.close()
        self.daemon = None

    def soon(self, work: Callable[[], httpx.Response]) -> Future[httpx.Response]:
        """A request of which the caller may die, or the daemon."""
        return self._pool.submit(work)

    # --- faults -------------------------------------------------------------------------------------------------

    def fault(self, endpoint: str, kind: Fault, **further: object) -> None:
        """Orders one fault for the next call of an endpoint."""
        self.judge.order_fault(endpoint, kind, **further)

    def hang(self, endpoint: str, *, after: bool) -> None:
        """The next call is answered never: it is done ``after`` all, or not at all."""
        self.fault(endpoint, Fault.TIMEOUT_AFTER if after else Fault.TIMEOUT_BEFORE)

    def wait_for_faults(self) -> None:
        """Until each fault that was ordered has befallen a call."""
        wait_for(lambda: not self.judge.ask("GET", "faults", list[FaultOrder]), lambda: "no call met a fault")

    # --- looking ------------------------------------------------------------------------------------------------

    def orders(self) -> dict[OrderId, OrderRecord]:
        with reading(self.data) as reads:
            return read_orders(reads, EVENT)

    def rest(self) -> None:
        """Until no order of the store is due any more."""
        with reading(self.data) as reads:
            restless: list[object] = []

            def rests() -> bool:
                orders = read_orders(reads, EVENT).values()
                restless[:] = [(o.state, o.payment_state, o.tries) for o in orders if o.due_at_ms is not None]
                return not restless

            wait_for(rests, lambda: f"still under way: {restless}")

    def wait_for_webhooks(self) -> None:
        """Until every event in line was delivered, which the daemon answers by 200 each time."""

        def undelivered() -> list[dict[str, object]]:
            lines = self.judge.ask("GET", "webhook/deliveries", list[dict[str, object]])
            return [line for line in lines if not (line["done"] and line["status"] == 200)]

        wait_for(lambda: not undelivered(), lambda: f"not delivered: {undelivered()}")

    def books(self) -> Books:
        return read_books(self.data, EVENT)

    def audit(self) -> Books:
        """Fails unless all orders are at rest and both books agree to the cent."""
        books, lines = self.books(), self.judge.ledger()
        wrong = disagreements(books, lines)
        assert wrong == [], wrong
        return books

    def outcome(self, answer: Future[httpx.Response]) -> int | None:
        """The status that a request was answered; None where the daemon died first."""
        try:
            return answer.result(PATIENCE_SECONDS).status_code
        except httpx.HTTPError:
            return None


@contextmanager
def open_shop(
    folder: Path, *, rows: int = 10, seats_each: int = 20, hold_seconds: int = 600, **payments: object
) -> Iterator[Shop]:
    """A shop with its event, not started yet."""
    with ExitStack() as stack:
        judge = stack.enter_context(running_judge(folder / "judge.sqlite"))
        # A fault that holds a call for good is over with the judge.
        judge.behave(declines_on_attach=False)
        # Events would have an order looked at that is to stand still; their own tests order them.
        judge.send_webhooks(delivery=Delivery.NEVER)
        shop = Shop(folder, judge, stack, **payments)
        shop.prepare(rows, seats_each, hold_seconds)
        yield shop


def placed_order(answer: httpx.Response) -> OrderId:
    """The order of a 201."""
    assert answer.status_code == 201, answer.text
    return order_of(answer.json()["order_id"])
