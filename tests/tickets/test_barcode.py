from __future__ import annotations

import itertools
import re
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schema.ids import TicketId
from ticketd.tickets.barcode import barcode_candidates, is_valid_barcode

SEED = bytes(range(32))
TICKET = TicketId(UUID("0198c0de-1234-7abc-8def-0123456789ab"))
DOCUMENT = Path(__file__).parents[2] / "docs" / "ticket-code.md"


def first(count: int, seed: bytes = SEED, ticket: TicketId = TICKET) -> list[str]:
    return list(itertools.islice(barcode_candidates(seed, ticket), count))


def test_candidates_are_valid_and_differ() -> None:
    many = first(2000)
    assert all(is_valid_barcode(barcode) for barcode in many)
    assert len(set(many)) == len(many)
    # Each digit falls everywhere; the check digit too.
    for position in range(12):
        assert {barcode[position] for barcode in many} == set("0123456789")


def test_candidates_are_always_the_same() -> None:
    assert first(3) == first(3) == ["824497822899", "660874046806", "931944862706"]


def test_candidates_depend_on_seed_and_ticket() -> None:
    assert not set(first(50)) & set(first(50, seed=bytes(32)))
    assert not set(first(50)) & set(first(50, ticket=TicketId(UUID(int=TICKET.int + 1))))


def test_a_short_seed_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="32 bytes or more"):
        barcode_candidates(bytes(31), TICKET)
    assert first(1, seed=bytes(33))


def test_the_published_example() -> None:
    assert is_valid_barcode("000000005724")
    assert not is_valid_barcode("000000005723")


def test_the_published_table_is_the_one_in_force() -> None:
    rows = [
        line.split() for line in DOCUMENT.read_text().splitlines() if re.fullmatch(r"( +[0-9]){11}", line)
    ]
    table = [[int(cell) for cell in row[1:]] for row in rows]
    for barcode in first(20):
        interim = 0
        for digit in barcode:
            interim = table[interim][int(digit)]
        assert interim == 0


@given(st.integers(0, 10**11), st.integers(0, 11), st.integers(1, 9))
def test_every_wrong_digit_is_noticed(which: int, position: int, shift: int) -> None:
    barcode = first(1, ticket=TicketId(UUID(int=which)))[0]
    wrong = str((int(barcode[position]) + shift) % 10)
    assert not is_valid_barcode(barcode[:position] + wrong + barcode[position + 1 :])


@given(st.integers(0, 10**11), st.integers(0, 10))
def test_every_exchange_of_neighbours_is_noticed(which: int, at: int) -> None:
    barcode = first(1, ticket=TicketId(UUID(int=which)))[0]
    swapped = barcode[:at] + barcode[at + 1] + barcode[at] + barcode[at + 2 :]
    assert is_valid_barcode(swapped) is (barcode[at] == barcode[at + 1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00000000572",
        "0000000005724",
        "00000000572a",
        "00000000572４",
        " 00000005724",
        "000000005724\n",
        "-00000005724",
    ],
)
def test_other_texts_are_no_barcodes(text: str) -> None:
    assert not is_valid_barcode(text)
