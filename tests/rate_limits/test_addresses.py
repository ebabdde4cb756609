"""Whose address counts: the socket's, unless those who say otherwise are trusted."""

from __future__ import annotations

import functools
import ipaddress
from typing import TypeAlias

import pytest

from ticketd.rate_limits.addresses import (
    ADDRESSES_KEPT,
    TrustedProxies,
    canonical_address,
    subscriber_of,
)

Remembering: TypeAlias = "functools._lru_cache_wrapper[str]"
PROXIES = TrustedProxies(("10.0.0.0/8", "192.0.2.7", "2001:db8:ffff::/48"))


def client(peer: str, forwarded: str | None = None, proxies: TrustedProxies = PROXIES) -> str:
    return proxies.client_address(peer, {} if forwarded is None else {"x-forwarded-for": forwarded})


@pytest.mark.parametrize("peer", ["198.51.100.1", "11.0.0.1", "192.0.2.8", "2001:db8:fffe::1"])
def test_a_strangers_word_does_not_count(peer: str) -> None:
    assert client(peer, "203.0.113.9") == peer


def test_without_trusted_proxies_no_header_counts() -> None:
    assert client("127.0.0.1", "203.0.113.9", TrustedProxies(())) == "127.0.0.1"


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::1", "::ffff:10.0.0.1"]
)
def test_a_trusted_proxys_word_counts(peer: str) -> None:
    assert client(peer, "203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        # The client wrote the first one itself; the proxy added what it saw.
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9, 10.1.1.1, 192.0.2.7", "203.0.113.9"),
        ("10.9.9.9, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
        # All trusted: the first in the chain.
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        # What is malformed ends the search at the proxy that wrote it.
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
        ("203.0.113.9, , 10.1.1.1", "10.1.1.1"),
        ("203.0.113.9,", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("203.0.113.256", "10.0.0.1"),
        ("203.0.113.9 evil", "10.0.0.1"),
        ("é", "10.0.0.1"),
        ("1" * 10_000, "10.0.0.1"),
        ("_hidden", "10.0.0.1"),
        # As some proxies write them.
        ("203.0.113.9:51234", "203.0.113.9"),
        ("[2001:db8::1]:51234", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("  203.0.113.9\t", "203.0.113.9"),
        ("[203.0.113.9", "10.0.0.1"),
        ("203.0.113.9:", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_a_chain_is_read_from_its_end(forwarded: str, address: str) -> None:
    assert client("10.0.0.1", forwarded) == address


@pytest.mark.parametrize("peer", ["", "not an address"])
def test_what_is_no_address_stays_as_it_is(peer: str) -> None:
    assert client(peer, "203.0.113.9", TrustedProxies(("0.0.0.0/0", "::/0"))) == peer


def test_an_address_has_one_form() -> None:
    assert client("::ffff:198.51.100.1") == "198.51.100.1"
    assert client("2001:DB8:0::0:5") == "2001:db8::5"


@pytest.mark.parametrize(
    ("address", "subscriber"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::", "2001:db8:0:1::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_address_stands_for_its_64(address: str, subscriber: str) -> None:
    assert subscriber_of(address) == subscriber


@pytest.mark.parametrize("remember", [canonical_address, subscriber_of])
def test_only_so_many_addresses_are_remembered(remember: Remembering) -> None:
    remember.cache_clear()
    texts = [str(ipaddress.IPv4Address(number)) for number in range(ADDRESSES_KEPT + 1)]
    for number, text in enumerate(texts, 1):
        assert remember(text) == text
        if number in {ADDRESSES_KEPT - 1, ADDRESSES_KEPT}:
            assert remember.cache_info().currsize == number
    assert remember.cache_info().currsize == ADDRESSES_KEPT
