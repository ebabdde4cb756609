"""Device fingerprints, of which only a SHA-256 is ever stored, put in a token or compared.

What a fingerprint is made of is the client's choice. Where one must be sent, and what follows when it
differs, is not decided here.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from typing import Final, NewType

DeviceHash = NewType("DeviceHash", bytes)
"""The SHA-256 of a fingerprint, 32 bytes."""

DEVICE_HASH_BYTES: Final = 32
MAX_FINGERPRINT_LENGTH: Final = 256
DEVICES_KEPT: Final = 16_384


class FingerprintInvalid(ValueError):
    """The text cannot be a device fingerprint."""


@functools.lru_cache(maxsize=DEVICES_KEPT)
def hash_device(fingerprint: str) -> DeviceHash:
    """The hash of a fingerprint: 1 to 256 printable ASCII characters, the first and the last not a space.

    It is sent in a JSON body when joining and in a header afterwards; headers carry neither other characters
    nor outer spaces reliably, so a fingerprint with them could never match again. Else FingerprintInvalid.
    A client sends the same one with every call, so the latest are remembered.
    """
    if not 1 <= len(fingerprint) <= MAX_FINGERPRINT_LENGTH:
        raise FingerprintInvalid(f"a device fingerprint is 1 to {MAX_FINGERPRINT_LENGTH} characters")
    if not (fingerprint.isascii() and fingerprint.isprintable()):
        raise FingerprintInvalid("a device fingerprint is of printable ASCII characters")
    if fingerprint[0] == " " or fingerprint[-1] == " ":
        raise FingerprintInvalid("a device fingerprint neither begins nor ends with a space")
    return DeviceHash(hashlib.sha256(fingerprint.encode("ascii")).digest())


def same_device(one: DeviceHash, other: DeviceHash) -> bool:
    """Whether two hashes are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)
