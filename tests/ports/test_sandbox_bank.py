"""Walks of random calls over the sandbox, compared with a model that keeps no file and knows nothing of SQL."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from storage.schema.ids import OrderId
from tests.ports.charges import card
from ticketd.ports.payments import (
    ActionRequired,
    Authorised,
    CardAdded,
    Charge,
    Declined,
    GatewayState,
    IdempotencyMismatch,
    Outcome,
    Refunded,
)
from ticketd.ports.sandbox_bank import ActionOutcome, SandboxBank
from ticketd.ports.sandbox_ledger import SandboxLedger

STEPS = 400


class Account(msgspec.Struct):
    """What the model believes of one payment."""

    state: str
    amount: int
    captured: int = 0
    refunded: int = 0


FIRST_STATES = {
    "tok_visa": "AUTHORISED",
    "tok_chargeDeclined": "FAILED",
    "tok_threeDSecure2Required": "REQUIRES_ACTION",
}
FIRST_OUTCOMES: dict[str, type[Outcome]] = {
    "tok_visa": Authorised,
    "tok_chargeDeclined": Declined,
    "tok_threeDSecure2Required": ActionRequired,
}


class Walk:
    """One bank and one model of it, driven side by side."""

    def __init__(self, bank: SandboxBank, seed: int) -> None:
        self.bank = bank
        self.random = random.Random(seed)
        self.keys = (f"key-{number}" for number in itertools.count())
        self.accounts: dict[str, Account] = {}
        self.cards: dict[str, str] = {}
        for token in FIRST_STATES:
            added = bank.describe_method(card(token), next(self.keys), 0)
            assert isinstance(added, CardAdded)
            self.cards[token] = added.gateway_method_ref

    def step(self) -> None:
        """One call, of a random kind, with a random amount around the bound that matters."""
        if not self.accounts or self.random.random() < 0.2:
            self.charge()
            return
        payment_ref = self.random.choice(list(self.accounts))
        account = self.accounts[payment_ref]
        act = self.random.choice([self.capture, self.void, self.refund, self.challenge])
        act(payment_ref, account)
        seen = self.bank.fetch(payment_ref)
        assert seen is not None
        assert (seen.state, seen.captured_minor, seen.refunded_minor) == (
            account.state,
            account.captured,
            account.refunded,
        )
        assert seen.authorised_minor == (account.amount if account.state == "AUTHORISED" else 0)
        assert 0 <= seen.refunded_minor <= seen.captured_minor <= seen.amount_minor

    def charge(self) -> None:
        token = self.random.choice(list(FIRST_STATES))
        charge = Charge(
            order_id=OrderId(UUID(int=self.random.getrandbits(128))),
            amount_minor=self.random.randint(1, 5),
            currency="EUR",
            method_ref=self.cards[token],
            description="",
            return_url="",
        )
        key = next(self.keys)
        outcome = self.bank.authorise(charge, key, 0, "")
        assert isinstance(outcome, FIRST_OUTCOMES[token])
        assert self.bank.authorise(charge, key, 1, "elsewhere") == outcome
        assert outcome.payment_ref is not None
        self.accounts[outcome.payment_ref] = Account(FIRST_STATES[token], charge.amount_minor)

    def capture(self, payment_ref: str, account: Account) -> None:
        amount, key = self.random.randint(1, account.amount + 1), next(self.keys)
        allowed = account.state == "AUTHORISED" and amount <= account.amount
        outcome = self.bank.capture(payment_ref, amount, key)
        assert (type(outcome).__name__ == "Captured") is allowed
        assert self.bank.capture(payment_ref, amount, key) == outcome
        if allowed:
            account.state, account.captured = "CAPTURED", amount

    def void(self, payment_ref: str, account: Account) -> None:
        allowed, key = account.state not in {"CAPTURED", "VOIDED"}, next(self.keys)
        outcome = self.bank.void(payment_ref, key)
        assert (type(outcome).__name__ == "Voided") is allowed
        assert self.bank.void(payment_ref, key) == outcome
        if allowed:
            account.state = "VOIDED"

    def refund(self, payment_ref: str, account: Account) -> None:
        left, key = account.captured - account.refunded, next(self.keys)
        amount = self.random.randint(1, max(1, left) + 1)
        outcome = self.bank.refund(payment_ref, amount, key, 0)
        assert isinstance(outcome, Refunded) is (amount <= left)
        assert self.bank.refund(payment_ref, amount, key, 1) == outcome
        with pytest.raises(IdempotencyMismatch):
            self.bank.refund(payment_ref, amount + 1, key, 0)
        if amount <= left:
            account.refunded += amount

    def challenge(self, payment_ref: str, account: Account) -> None:
        outcome = self.random.choice(list(ActionOutcome))
        self.bank.complete_action(payment_ref, outcome)
        if account.state == "REQUIRES_ACTION":
            account.state = "AUTHORISED" if outcome is ActionOutcome.COMPLETE else "FAILED"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SandboxLedger]:
    with closing(SandboxLedger(tmp_path / "sandbox-payments.sqlite")) as ledger:
        yield ledger


@pytest.mark.parametrize("seed", range(10))
def test_a_random_walk_agrees_with_the_model(ledger: SandboxLedger, seed: int) -> None:
    source = random.Random(-1 - seed)

    def walk_all() -> None:
        walk = Walk(SandboxBank(ledger, source.randbytes), seed)
        for _ in range(STEPS):
            walk.step()
        reached = {account.state for account in walk.accounts.values()}
        assert reached == {state.value for state in GatewayState}

    ledger.commit_together([walk_all])
