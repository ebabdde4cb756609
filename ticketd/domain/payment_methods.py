"""A buyer's payment methods: cards by the gateway's reference, never by their number. The first one is the default."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from storage.engine import Reader, Transaction
from storage.schema.ids import PaymentMethodId, UserId
from storage.schema.layout import CUSTOMERS, PAYMENT_METHODS, buyer_partition
from storage.schema.records import AddressRecord, PaymentMethodRecord
from ticketd.errors import ErrorCode, Refusal


class AddPaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A card that the gateway has accepted, to be kept for a buyer. ``method_ref`` is the gateway's name for it,
    ``customer_ref`` for the buyer."""

    user_id: UserId
    payment_method_id: PaymentMethodId
    gateway: str
    method_ref: str
    brand: str
    last_four: str
    expiry_month: int
    expiry_year: int
    billing_address: AddressRecord | None = None
    customer_ref: str | None = None


class RemovePaymentMethod(msgspec.Struct, frozen=True):
    """A buyer's card is to be forgotten."""

    user_id: UserId
    payment_method_id: PaymentMethodId


def add_payment_method(tx: Transaction, command: AddPaymentMethod) -> PaymentMethodRecord:
    """Keeps a card; the buyer's first becomes the default. Refuses nothing."""
    partition = buyer_partition(command.user_id)
    record = PaymentMethodRecord(
        payment_method_id=command.payment_method_id,
        gateway=command.gateway,
        method_ref=command.method_ref,
        brand=command.brand,
        last_four=command.last_four,
        expiry_month=command.expiry_month,
        expiry_year=command.expiry_year,
        billing_address=command.billing_address,
        is_default=not list_payment_methods(tx, command.user_id),
        created_at_ms=tx.now_ms,
    )
    PAYMENT_METHODS.put(tx, record, partition, command.payment_method_id)
    if command.customer_ref is not None:
        CUSTOMERS.put(tx, command.customer_ref, partition, command.gateway)
    return record


def remove_payment_method(tx: Transaction, command: RemovePaymentMethod) -> PaymentMethodRecord:
    """Forgets a card and answers what it was; the oldest of the others becomes the default in its place.

    Refuses PAYMENT_METHOD_NOT_FOUND.
    """
    partition = buyer_partition(command.user_id)
    removed = PAYMENT_METHODS.get(tx, partition, command.payment_method_id)
    if removed is None:
        raise Refusal(ErrorCode.PAYMENT_METHOD_NOT_FOUND)
    PAYMENT_METHODS.delete(tx, partition, command.payment_method_id)
    left = list_payment_methods(tx, command.user_id)
    if removed.is_default and left:
        heir = replace(left[0], is_default=True)
        PAYMENT_METHODS.put(tx, heir, partition, heir.payment_method_id)
    return removed


def find_payment_method(
    reader: Reader, user_id: UserId, payment_method_id: PaymentMethodId
) -> PaymentMethodRecord | None:
    """A buyer's own card; None for another's and for one that does not exist."""
    return PAYMENT_METHODS.get(reader, buyer_partition(user_id), payment_method_id)


def find_customer(reader: Reader, user_id: UserId, gateway: str) -> str | None:
    """The gateway's name for a buyer; None before the first card. It outlives the cards."""
    return CUSTOMERS.get(reader, buyer_partition(user_id), gateway)


def list_payment_methods(reader: Reader, user_id: UserId) -> list[PaymentMethodRecord]:
    """A buyer's cards, oldest first."""
    found = [record for _, record in PAYMENT_METHODS.scan(reader, buyer_partition(user_id))]
    return sorted(found, key=lambda record: (record.created_at_ms, record.payment_method_id))
