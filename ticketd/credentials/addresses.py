"""Client addresses, of which only a keyed hash is ever stored: whoever reads a store alone learns no address from it.

Which address a call comes from is not decided here.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Final

ADDRESS_HASH_BYTES: Final = 16
_SUBSCRIBER_BITS: Final = 64


def hash_address(secret: bytes, address: str) -> bytes | None:
    """The hash of an IP address, 16 bytes; None for what is no IP address, such as a Unix socket's empty one.

    An IPv6 address counts by its /64, which one subscriber has whole; an IPv4 address in IPv6 form as the former.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        else:
            packed = ipaddress.ip_network(
                (int(parsed), _SUBSCRIBER_BITS), strict=False
            ).network_address.packed
            return _hash(secret, packed)
    return _hash(secret, parsed.packed)


def _hash(secret: bytes, packed: bytes) -> bytes:
    return hmac.digest(secret, b"ticketd address\x00" + packed, hashlib.sha256)[:ADDRESS_HASH_BYTES]
