"""The draw of a lobby, ``ticketd-draw-1``, and the form in which its order is stored.

The draw is a pure function of a secret seed and of the list of entries; ``docs/draw.md`` describes it for those who
want to check it with a program of their own. Whatever makes or checks a draw here goes through ``drawn_places``. When a
draw is made is the domain's.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from array import array
from collections.abc import Iterator
from typing import Final

ALGORITHM: Final = "ticketd-draw-1"
SEED_BYTES: Final = 32
ENTRY_ID_BYTES: Final = 16

CHUNK_NUMBERS: Final = 16_000
"""How many numbers, of 4 bytes each, stand in one record."""

NO_RANK: Final = 0xFFFF_FFFF
"""Stands for the rank of a number in the order of joining that no entry of the list has."""

_NUMBERS: Final = "I"
_NUMBER_BYTES: Final = 4
_KEY_BYTES: Final = 32
_RECORD_BYTES: Final = _KEY_BYTES + _NUMBER_BYTES
_HASHED_AT_ONCE: Final = 1 << 20
_KEYED_AT_ONCE: Final = 2000
_BUCKET_ENTRIES: Final = 256


def commitment_of(seed: bytes) -> bytes:
    """What is published of a seed before the draw: its SHA-256."""
    return hashlib.sha256(seed).digest()


def drawn_places(seed: bytes, ids: bytes | bytearray) -> Iterator[array[int]]:
    """The order of the draw: places in the list of entries, from 0, piece by piece.

    ``ids`` are the 16-byte ids of all entries in order of joining, one after the other. No step of the iterator takes
    longer than some milliseconds, so that a loop may do other work between two; its pieces are empty until the sorting
    begins.
    """
    listed = hashlib.sha256()
    for start in range(0, len(ids), _HASHED_AT_ONCE):
        listed.update(memoryview(ids)[start : start + _HASHED_AT_ONCE])
        yield array(_NUMBERS)
    key = hashlib.sha256(seed + listed.digest()).digest()
    count = len(ids) // ENTRY_ID_BYTES
    buckets = [bytearray() for _ in range(count // _BUCKET_ENTRIES + 1)]
    for start in range(0, count, _KEYED_AT_ONCE):
        _key_entries(key, ids, range(start, min(start + _KEYED_AT_ONCE, count)), buckets)
        yield array(_NUMBERS)
    piece = array(_NUMBERS)
    for bucket in buckets:
        piece.extend(_sorted_places(bucket))
        if len(piece) >= _KEYED_AT_ONCE:
            yield piece
            piece = array(_NUMBERS)
    yield piece


def _key_entries(key: bytes, ids: bytes | bytearray, places: range, buckets: list[bytearray]) -> None:
    """Puts entries into the buckets by their HMACs: all of a bucket come before all of the next."""
    for place in places:
        entry_id = ids[place * ENTRY_ID_BYTES : (place + 1) * ENTRY_ID_BYTES]
        sort_key = hmac.digest(key, entry_id, "sha256")
        bucket = buckets[int.from_bytes(sort_key[:4], "big") * len(buckets) >> 32]
        bucket += sort_key + place.to_bytes(_NUMBER_BYTES, "big")


def _sorted_places(bucket: bytearray) -> Iterator[int]:
    records = sorted(
        bytes(bucket[start : start + _RECORD_BYTES]) for start in range(0, len(bucket), _RECORD_BYTES)
    )
    return (int.from_bytes(record[_KEY_BYTES:], "big") for record in records)


def pack_numbers(numbers: array[int]) -> bytes:
    """Numbers as they are stored: 4 bytes each, the lowest first."""
    return _little_endian(array(_NUMBERS, numbers)).tobytes()


def unpack_numbers(chunk: bytes) -> array[int]:
    """The numbers of a stored record. Refuses bytes that are no whole numbers (ValueError)."""
    numbers = array(_NUMBERS)
    numbers.frombytes(chunk)
    return _little_endian(numbers)


def number_at(chunk: bytes, place: int) -> int:
    """One number of a stored record."""
    return int.from_bytes(chunk[place * _NUMBER_BYTES : (place + 1) * _NUMBER_BYTES], "little")


def no_ranks(count: int) -> array[int]:
    """So many numbers in the order of joining, none of which has a rank yet."""
    return array(_NUMBERS, NO_RANK.to_bytes(_NUMBER_BYTES, "big") * count)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
