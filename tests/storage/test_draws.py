"""The draw itself: against a second implementation, against the numbers in its document, and its stored form."""

from __future__ import annotations

import hashlib
import re
from array import array
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from storage.schema.draws import (
    NO_RANK,
    commitment_of,
    drawn_places,
    no_ranks,
    number_at,
    pack_numbers,
    unpack_numbers,
)
from tests.support.hand_draw import hand_draw

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "draw.md"
UUID_FORM = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def drawn(seed: bytes, entries: list[UUID]) -> list[UUID]:
    ids = b"".join(entry.bytes for entry in entries)
    return [entries[place] for piece in drawn_places(seed, ids) for place in piece]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 255, 256, 257, 1999, 2000, 2001, 5000])
def test_it_is_the_order_of_the_second_implementation(count: int) -> None:
    random = Random(count)
    seed = random.randbytes(32)
    entries = [UUID(bytes=random.randbytes(16)) for _ in range(count)]
    assert drawn(seed, entries) == hand_draw(seed, entries)


def test_seed_and_list_both_count() -> None:
    entries = [UUID(int=number) for number in range(20)]
    order = drawn(bytes(32), entries)
    assert drawn(bytes(31) + b"\x01", entries) != order
    swapped = [entries[1], entries[0], *entries[2:]]
    assert drawn(bytes(32), swapped) != order
    assert sorted(order) == entries


def test_the_example_of_the_document_is_right() -> None:
    example = DOCUMENT.read_text().split("### An example")[1].split("```")[1]
    fields = dict(
        re.findall(r"^(seed|commitment|list_hash|draw_key) +([0-9a-f]{64})$", example, re.MULTILINE)
    )
    seed = bytes.fromhex(fields["seed"])
    assert commitment_of(seed).hex() == fields["commitment"]
    assert hashlib.sha256(seed).hexdigest() == fields["commitment"]
    entries, keys, order = (
        [UUID(one) for one in re.findall(UUID_FORM, part)]
        for part in re.split(
            r"^(?:list_hash|order)", example.replace("sort keys", "list_hash", 1), flags=re.MULTILINE
        )
        if re.search(UUID_FORM, part)
    )
    listed = hashlib.sha256(b"".join(one.bytes for one in entries)).digest()
    assert listed.hex() == fields["list_hash"]
    assert hashlib.sha256(seed + listed).hexdigest() == fields["draw_key"]
    assert len(entries) == 3
    assert keys == entries
    assert drawn(seed, entries) == hand_draw(seed, entries) == order
    sort_keys = dict(
        zip(keys, re.findall(r" ([0-9a-f]{64})$", example.split("sort keys")[1], re.MULTILINE), strict=True)
    )
    assert sorted(entries, key=lambda one: sort_keys[one]) == order


def test_numbers_are_stored_in_four_bytes_the_lowest_first() -> None:
    numbers = array("I", (1, 0x01020304, NO_RANK))
    chunk = pack_numbers(numbers)
    assert chunk == b"\x01\0\0\0" + b"\x04\x03\x02\x01" + b"\xff" * 4
    assert unpack_numbers(chunk) == numbers
    assert [number_at(chunk, place) for place in range(3)] == list(numbers)
    assert list(no_ranks(2)) == [NO_RANK, NO_RANK]
    with pytest.raises(ValueError, match="bytes"):
        unpack_numbers(b"abc")
