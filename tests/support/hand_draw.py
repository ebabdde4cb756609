"""The draw of a lobby once more, written from ``docs/draw.md`` alone: it shares no code with the product."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID


def hand_draw(seed: bytes, entries: Sequence[UUID]) -> list[UUID]:
    """The entries, given in order of joining, in the order in which they are drawn."""
    joined = b"".join(bytes.fromhex(str(entry).replace("-", "")) for entry in entries)
    draw_key = hashlib.sha256(seed + hashlib.sha256(joined).digest()).digest()
    return sorted(entries, key=lambda entry: _hmac_sha256(draw_key, entry.bytes))


def _hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, for a key of 32 bytes and the 64-byte blocks of SHA-256."""
    block = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()
