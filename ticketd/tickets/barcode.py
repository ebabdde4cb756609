"""Barcodes: 12 digits that people read out, type in and compare, the last one a check digit.

The check digit is Damm's (H. M. Damm, 2004, the quasigroup of order 10): it notices every single wrong digit
and every exchange of two neighbours, which are nearly all the mistakes of a typing hand. A barcode is
unguessable and proves nothing by itself; what a gate trusts is the signed code of ``code``. That a barcode is
unique in its event is the store's to see to: it takes the first candidate that is free.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
from collections.abc import Iterator
from typing import Final, NewType

from storage.schema.ids import TicketId

Barcode = NewType("Barcode", str)

BARCODE_LENGTH: Final = 12
MIN_SEED_BYTES: Final = 32

_DIGITS = re.compile(r"[0-9]{12}")
_PURPOSE: Final = b"ticketd barcode 1"
_FREE_DIGITS: Final = BARCODE_LENGTH - 1
_DAMM: Final = (
    (0, 3, 1, 7, 5, 9, 8, 6, 4, 2),
    (7, 0, 9, 2, 1, 5, 4, 8, 6, 3),
    (4, 2, 0, 6, 8, 7, 1, 3, 5, 9),
    (1, 7, 5, 0, 9, 8, 3, 4, 2, 6),
    (6, 1, 2, 3, 0, 4, 5, 9, 7, 8),
    (3, 6, 7, 4, 2, 0, 9, 5, 8, 1),
    (5, 8, 6, 9, 7, 2, 0, 1, 3, 4),
    (8, 9, 4, 5, 3, 6, 2, 0, 1, 7),
    (9, 4, 3, 8, 6, 1, 7, 2, 0, 5),
    (2, 5, 8, 1, 4, 3, 6, 7, 9, 0),
)


def barcode_candidates(seed: bytes, ticket_id: TicketId) -> Iterator[Barcode]:
    """Endless barcodes for a ticket, always the same for the same seed and ticket.

    Eleven digits of each are HMAC-SHA256 of the ticket and a counter under ``seed``, a secret of 32 bytes or
    more (else ValueError): whoever does not know the seed guesses a given ticket's with a chance of 1 in
    10**11.
    """
    if len(seed) < MIN_SEED_BYTES:
        raise ValueError(f"the seed of barcodes has {MIN_SEED_BYTES} bytes or more, not {len(seed)}")
    return (_candidate(seed, ticket_id, count) for count in itertools.count())


def is_valid_barcode(text: str) -> bool:
    """Whether a text is 12 ASCII digits whose last one is right."""
    return _DIGITS.fullmatch(text) is not None and _damm(text) == 0


def _candidate(seed: bytes, ticket_id: TicketId, count: int) -> Barcode:
    message = _PURPOSE + ticket_id.bytes + count.to_bytes(8, "big")
    # 256 bits modulo 10**11 favour no digit by more than 1 in 2**219.
    drawn = int.from_bytes(hmac.digest(seed, message, hashlib.sha256), "big") % 10**_FREE_DIGITS
    digits = f"{drawn:0{_FREE_DIGITS}d}"
    return Barcode(f"{digits}{_damm(digits)}")


def _damm(digits: str) -> int:
    interim = 0
    for digit in digits:
        interim = _DAMM[interim][int(digit)]
    return interim
