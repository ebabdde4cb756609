from __future__ import annotations

import pytest

from ticketd.credentials.addresses import ADDRESS_HASH_BYTES, hash_address

SECRET = b"s" * 32


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8:0:0::2"),
    ],
)
def test_one_subscriber(one: str, other: str) -> None:
    assert hash_address(SECRET, one) == hash_address(SECRET, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("192.0.2.1", "192.0.2.2"),
        ("0.0.0.0", "::"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_two_subscribers(one: str, other: str) -> None:
    assert hash_address(SECRET, one) != hash_address(SECRET, other)


@pytest.mark.parametrize("address", ["", "socket", "192.0.2.1:80", "192.0.2.1, 192.0.2.2", "192.0.2.256"])
def test_what_is_no_address(address: str) -> None:
    assert hash_address(SECRET, address) is None


def test_the_hash_is_short_and_keyed() -> None:
    found = hash_address(SECRET, "192.0.2.1")
    assert found is not None
    assert len(found) == ADDRESS_HASH_BYTES
    assert found != hash_address(b"t" * 32, "192.0.2.1")
