"""A judge without a process or a socket, for its own tests: requests go in, documents come out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlencode

import msgspec

from tests.stripe_judge import control, server
from tests.stripe_judge.control import LedgerLine
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.records import Event
from tests.stripe_judge.refusals import Document
from tests.stripe_judge.store import Wanted
from tests.stripe_judge.wire import Answer, Request

KEY: Final = "sk_test_judge"
START: Final = 1_790_000_000
FORM: Final = {"content-type": "application/x-www-form-urlencoded", "authorization": f"Bearer {KEY}"}


class Desk:
    """A judge whose clock stands still until ``wall`` is set."""

    def __init__(self, folder: Path) -> None:
        self.wall = float(START)
        self.judge = Judge(folder / "judge.sqlite", wall=lambda: self.wall)

    def close(self) -> None:
        self.judge.store.close()

    async def send(
        self,
        method: str,
        path: str,
        form: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
    ) -> Answer:
        """One request; AssertionError if it is given no answer."""
        encoded = urlencode(form or {}).encode()
        headers = FORM if key is None else {**FORM, "idempotency-key": key}
        if method == "GET":
            request = Request(method, path, query=encoded, headers=headers)
        else:
            request = Request(method, path, headers=headers, body=encoded)
        answer = await server.answer(self.judge, request)
        assert answer is not None
        return answer

    async def done(
        self, method: str, path: str, form: Mapping[str, object] | None = None, *, key: str | None = None
    ) -> Document:
        """The document of an answer of 200."""
        answer = await self.send(method, path, form, key=key)
        assert answer.status == 200, answer.body
        return document(answer)

    async def refused(
        self, method: str, path: str, form: Mapping[str, object] | None = None, *, key: str | None = None
    ) -> tuple[int, object, object]:
        """The status, code and parameter of a refusal."""
        answer = await self.send(method, path, form, key=key)
        error = cast("Document", document(answer)["error"])
        return answer.status, error.get("code"), error.get("param")

    def order(self, method: str, path: str, body: object = None) -> Answer:
        """An order to the judge."""
        encoded = b"" if body is None else msgspec.json.encode(body)
        return control.obey(self.judge, Request(method, f"/_judge/{path}", body=encoded))

    def ordered(self, method: str, path: str, body: object = None) -> Document:
        """What an order answers that is obeyed."""
        answer = self.order(method, path, body)
        assert answer.status == 200, answer.body
        return cast("Document", msgspec.json.decode(answer.body))

    def ledger(self) -> dict[str, LedgerLine]:
        return {line.payment_intent: line for line in control.ledger(self.judge.store)}

    def event_types(self) -> list[str]:
        """Of all events, oldest first."""
        return [event.type for event in reversed(self.judge.store.listed(Event, Wanted()))]

    # --- what most tests begin with -------------------------------------------------------------------------

    async def customer(self) -> str:
        return name_of(await self.done("POST", "/v1/customers", {"name": "A Buyer"}))

    async def method(self, token: str = "tok_visa", *, customer: str | None = None) -> str:
        """A card, attached if there is a customer."""
        made = await self.done("POST", "/v1/payment_methods", {"type": "card", "card[token]": token})
        if customer is not None:
            await self.done("POST", f"/v1/payment_methods/{made['id']}/attach", {"customer": customer})
        return name_of(made)

    async def intent(self, card: str = "visa", **changes: object) -> str:
        """A payment that was confirmed with the shared card, with these parameters changed; None takes one out."""
        return name_of(await self.done("POST", "/v1/payment_intents", payment(card, **changes)))


def payment(card: str = "visa", **changes: object) -> dict[str, object]:
    """The parameters of a payment as the daemon makes it, but of no customer."""
    form: dict[str, object] = {
        "amount": 1000,
        "currency": "usd",
        "payment_method": f"pm_card_{card}",
        "capture_method": "manual",
        "confirm": "true",
        "return_url": "https://shop.example/",
        **changes,
    }
    return {name: value for name, value in form.items() if value is not None}


def document(answer: Answer) -> Document:
    return cast("Document", msgspec.json.decode(answer.body))


def name_of(shown: Document) -> str:
    """Its id."""
    name = shown["id"]
    assert isinstance(name, str)
    return name
