"""The address that a call comes from: the socket's, or the one that trusted proxies say they forward for.

Anybody may write a forwarding header. It is read from its end, where the nearest proxy wrote, and only as far as those
who wrote are trusted; beyond that it is a stranger's word.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

FORWARDED_HEADER: Final = "x-forwarded-for"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WITH_PORT: Final = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[^\[\]]+)\](?::[0-9]{1,5})?")
_SUBSCRIBER_BITS: Final = 64
ADDRESSES_KEPT: Final = 16_384


class TrustedProxies:
    """The proxies whose forwarding headers count: addresses and networks, as ``server.trusted_proxies`` has them."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: tuple[_Network, ...] = tuple(ipaddress.ip_network(text) for text in networks)

    def client_address(self, peer: str, headers: Mapping[str, str]) -> str:
        """The client's address in its canonical form; ``peer`` is the socket's, "" for a Unix socket.

        ``headers`` have names in lower case, several lines of one name joined by commas. An entry that is no address
        ends the search: the proxy that wrote it is the client then. So is the first of a chain that is all trusted.
        """
        if not self._networks:
            return canonical_address(peer)
        address = _parse(peer)
        if address is None:
            return peer
        if self._trusts(address) and (chain := headers.get(FORWARDED_HEADER)):
            for entry in reversed(chain.split(",")):
                before = _parse_entry(entry)
                if before is None:
                    break
                address = before
                if not self._trusts(address):
                    break
        return str(address)

    def trusts(self, peer: str) -> bool:
        """Whether the address of a socket's other end is a trusted proxy's."""
        address = _parse(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def canonical_address(text: str) -> str:
    """An address in its canonical form; any other text as it is."""
    address = _parse(text)
    return text if address is None else str(address)


def subscriber_network(address: str) -> _Network | None:
    """All addresses of the subscriber who has this one: an IPv6 address's /64, an IPv4 address alone; None for what is
    no address, such as a Unix socket's empty one."""
    parsed = _parse(address)
    if parsed is None:
        return None
    bits = _SUBSCRIBER_BITS if isinstance(parsed, ipaddress.IPv6Address) else parsed.max_prefixlen
    return ipaddress.ip_network((parsed, bits), strict=False)


@functools.lru_cache(maxsize=ADDRESSES_KEPT)
def subscriber_of(address: str) -> str:
    """Whom an address stands for: an IPv6 address for its subscriber's network, any other for itself."""
    network = subscriber_network(address)
    return str(network) if isinstance(network, ipaddress.IPv6Network) else address


def _parse(text: str) -> _Address | None:
    """An address without zone; an IPv4 address that is written as IPv6 is one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def _parse_entry(entry: str) -> _Address | None:
    """An address as proxies write it: alone, or with a port, then an IPv6 address in brackets."""
    text = entry.strip()
    if match := _WITH_PORT.fullmatch(text):
        return _parse(match["v4"] or match["v6"])
    return _parse(text)
