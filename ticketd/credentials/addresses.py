"""Client addresses, of which only a keyed hash is ever stored: whoever reads a store alone learns no address from it.

Which address a call comes from, and whom it stands for, is not decided here.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ticketd.rate_limits.addresses import subscriber_network

ADDRESS_HASH_BYTES: Final = 16


def hash_address(secret: bytes, address: str) -> bytes | None:
    """The hash of an IP address, 16 bytes, the same for all addresses of one subscriber; None for what is no IP
    address, such as a Unix socket's empty one."""
    network = subscriber_network(address)
    if network is None:
        return None
    packed = network.network_address.packed
    return hmac.digest(secret, b"ticketd address\x00" + packed, hashlib.sha256)[:ADDRESS_HASH_BYTES]
