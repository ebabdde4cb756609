from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from storage.engine import Command, Transaction
from storage.schema.ids import PaymentMethodId
from storage.schema.layout import buyer_partition
from storage.schema.records import PaymentMethodRecord
from tests.domain.inventory_stage import OPENS_MS, user_id
from tests.domain.order_stage import BILLING
from tests.domain.refusals import refused
from tests.domain.room_stage import HandClock, open_store
from ticketd.domain.payment_methods import (
    AddPaymentMethod,
    RemovePaymentMethod,
    add_payment_method,
    find_customer,
    find_payment_method,
    list_payment_methods,
    remove_payment_method,
)
from ticketd.errors import ErrorCode


class Wallet:
    """Two buyers' cards in a real store. Cards are numbers; a higher number sorts first, whenever it was added."""

    def __init__(self, path: Path) -> None:
        self.clock = HandClock(OPENS_MS)
        self._open = open_store(path, self.clock)

    def __enter__(self) -> Wallet:
        self.engine = self._open.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.__exit__(None, None, None)

    async def add(self, card: int, user: int = 1, customer_ref: str | None = None) -> PaymentMethodRecord:
        self.clock.at_ms += 1
        command = AddPaymentMethod(
            user_id=user_id(user),
            payment_method_id=card_id(card),
            gateway="sandbox",
            method_ref=f"pm_{card}",
            brand="Visa",
            last_four=f"{card:04}",
            expiry_month=1,
            expiry_year=2030,
            billing_address=BILLING,
            customer_ref=customer_ref,
        )
        return await self._run(user, lambda tx: add_payment_method(tx, command))

    async def remove(self, card: int, user: int = 1) -> PaymentMethodRecord:
        command = RemovePaymentMethod(user_id(user), card_id(card))
        return await self._run(user, lambda tx: remove_payment_method(tx, command))

    def cards(self, user: int = 1) -> list[tuple[str, bool]]:
        with self.engine.snapshot(buyer_partition(user_id(user))) as view:
            found = list_payment_methods(view, user_id(user))
            for record in found:
                assert find_payment_method(view, user_id(user), record.payment_method_id) == record
        return [(record.method_ref, record.is_default) for record in found]

    def customer(self, user: int = 1, gateway: str = "sandbox") -> str | None:
        with self.engine.snapshot(buyer_partition(user_id(user))) as view:
            return find_customer(view, user_id(user), gateway)

    async def _run(
        self, user: int, function: Callable[[Transaction], PaymentMethodRecord]
    ) -> PaymentMethodRecord:
        return (await self.engine.submit(Command("test", (buyer_partition(user_id(user)),), function))).result


def card_id(card: int) -> PaymentMethodId:
    return PaymentMethodId(UUID(int=1000 - card))


async def test_the_first_card_is_the_default_and_the_list_is_oldest_first(tmp_path: Path) -> None:
    with Wallet(tmp_path) as wallet:
        first = await wallet.add(1)
        assert (first.is_default, first.created_at_ms, first.billing_address) == (True, OPENS_MS + 1, BILLING)
        assert not (await wallet.add(2)).is_default
        assert not (await wallet.add(3)).is_default
        assert wallet.cards() == [("pm_1", True), ("pm_2", False), ("pm_3", False)]
        assert wallet.cards(user=2) == []


async def test_when_the_default_goes_the_oldest_of_the_others_becomes_it(tmp_path: Path) -> None:
    with Wallet(tmp_path) as wallet:
        for card in (1, 2, 3):
            await wallet.add(card)
        await wallet.remove(1)
        assert wallet.cards() == [("pm_2", True), ("pm_3", False)]
        await wallet.remove(3)
        assert wallet.cards() == [("pm_2", True)]
        assert (await wallet.remove(2)).method_ref == "pm_2"
        assert wallet.cards() == []
        assert (await wallet.add(4)).is_default


async def test_another_buyers_card_is_not_found(tmp_path: Path) -> None:
    with Wallet(tmp_path) as wallet:
        await wallet.add(1)
        await refused(ErrorCode.PAYMENT_METHOD_NOT_FOUND, wallet.remove(1, user=2))
        await refused(ErrorCode.PAYMENT_METHOD_NOT_FOUND, wallet.remove(9))
        with wallet.engine.snapshot(buyer_partition(user_id(2))) as view:
            assert find_payment_method(view, user_id(2), card_id(1)) is None
        assert wallet.cards() == [("pm_1", True)]


async def test_the_gateways_name_for_a_buyer_outlives_the_cards(tmp_path: Path) -> None:
    with Wallet(tmp_path) as wallet:
        await wallet.add(1)
        assert wallet.customer() is None
        await wallet.add(2, customer_ref="cus_1")
        assert wallet.customer() == "cus_1"
        await wallet.add(3)
        assert wallet.customer() == "cus_1"
        await wallet.add(4, customer_ref="cus_2")
        for card in (1, 2, 3, 4):
            await wallet.remove(card)
        assert wallet.customer() == "cus_2"
        assert wallet.customer(user=2) is None
        assert wallet.customer(gateway="stripe") is None
