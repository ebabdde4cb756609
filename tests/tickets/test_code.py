from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from storage.schema.ids import EventId, SeatNumber, TicketId, seat_id
from ticketd.tickets.code import (
    CODE_LENGTH,
    MAX_ISSUE,
    MAX_SEAT_NUMBER,
    PREFIX,
    CodeFault,
    TicketCode,
    TicketCodeInvalid,
    TicketKey,
    TicketKeyId,
    export_public_keys,
    new_ticket_key,
    sign_ticket_code,
    verify_ticket_code,
)

KEY = new_ticket_key(bytes(range(32)), 1)
OTHER_KEY = new_ticket_key(bytes(32), 2)
KEYS = {KEY.kid: KEY.public, OTHER_KEY.kid: OTHER_KEY.public}
EVENT = EventId(UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7"))
TICKET = TicketId(UUID("0198c0de-1234-7abc-8def-0123456789ab"))
CODE = TicketCode(event_id=EVENT, ticket_id=TICKET, seat_number=SeatNumber(4295098378), issue=3)
TEXT = sign_ticket_code(KEY, CODE)
DOCUMENT = Path(__file__).parents[2] / "docs" / "ticket-code.md"
QR_ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


def fault(text: str, keys: dict[TicketKeyId, bytes] = KEYS) -> CodeFault:
    with pytest.raises(TicketCodeInvalid) as caught:
        verify_ticket_code(text, keys)
    return caught.value.fault


def packed(raw: bytes) -> str:
    return PREFIX + base64.b32encode(raw).decode().rstrip("=")


def signed(body: bytes) -> str:
    """A text that is rightly signed, whatever its body says."""
    signature = Ed25519PrivateKey.from_private_bytes(KEY.seed).sign(b"ticketd ticket code 1\x00" + body)
    return packed(body + signature)


@given(
    st.builds(
        TicketCode,
        event_id=st.uuids(),
        ticket_id=st.uuids(),
        seat_number=st.integers(0, MAX_SEAT_NUMBER),
        issue=st.integers(1, MAX_ISSUE),
    )
)
def test_what_is_signed_is_read(code: TicketCode) -> None:
    text = sign_ticket_code(KEY, code)
    assert len(text) == CODE_LENGTH
    assert set(text) <= QR_ALPHANUMERIC
    read = verify_ticket_code(text, KEYS)
    assert (read.code, read.kid) == (code, KEY.kid)


def test_the_document_describes_the_code() -> None:
    """Verifies the published vector as the page says, without the code under test."""
    found = re.findall(r"^([a-z][a-z ]*?)  +(\S+)$", DOCUMENT.read_text(), re.MULTILINE)
    vector: dict[str, str] = dict(found)
    text = vector["text"]
    assert len(text) == 178
    assert text.startswith("TKD1:")
    raw = base64.b32decode(text[5:] + "===")
    body, signature = raw[:44], raw[44:]
    public = bytes.fromhex(vector["public key"])
    assert body.hex() == vector["body"]
    assert signature.hex() == vector["signature"]
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"ticketd ticket code 1" + b"\0" + body)
    assert body[0:4].hex() == vector["key id"] == hashlib.sha256(public).digest()[:4].hex()
    assert str(UUID(bytes=body[4:20])) == vector["event id"] == str(EVENT)
    assert str(UUID(bytes=body[20:36])) == vector["ticket id"] == str(TICKET)
    assert int.from_bytes(body[36:42], "big") == int(vector["seat"]) == CODE.seat_number
    assert int.from_bytes(body[42:44], "big") == int(vector["issue"]) == CODE.issue
    assert vector["seat id"] == str(seat_id(EVENT, CODE.seat_number))
    # And it is what this version makes.
    assert text == TEXT
    assert fault(text[:-1] + "X") is CodeFault.MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TKD1:",
        TEXT[:-1],
        TEXT + "A",
        TEXT + "=",
        TEXT + "\n",
        " " + TEXT,
        TEXT.lower(),
        "TKD2:" + TEXT[5:],
        "TKD1;" + TEXT[5:],
        TEXT[:50] + "1" + TEXT[51:],
        TEXT[:50] + "é" + TEXT[51:],
        TEXT[:50] + "\udc80" + TEXT[51:],
        TEXT[:-1] + chr(ord(TEXT[-1]) + 1),
    ],
)
def test_a_text_of_another_form_is_malformed(text: str) -> None:
    assert fault(text) is CodeFault.MALFORMED


def test_issue_zero_is_malformed_though_it_is_signed() -> None:
    body = base64.b32decode(TEXT[5:] + "===")[:44]
    assert verify_ticket_code(signed(body), KEYS).code == CODE
    assert fault(signed(body[:42] + b"\0\0")) is CodeFault.MALFORMED


def test_an_unknown_key_is_told_from_a_forgery() -> None:
    assert fault(TEXT, {OTHER_KEY.kid: OTHER_KEY.public}) is CodeFault.UNKNOWN_KEY
    assert fault(TEXT, {}) is CodeFault.UNKNOWN_KEY
    assert fault(TEXT, {KEY.kid: OTHER_KEY.public}) is CodeFault.FORGED


def test_every_changed_bit_is_noticed() -> None:
    raw = base64.b32decode(TEXT[5:] + "===")
    for position in range(len(raw)):
        for bit in (1, 128):
            changed = raw[:position] + bytes([raw[position] ^ bit]) + raw[position + 1 :]
            assert fault(packed(changed)) in {CodeFault.UNKNOWN_KEY, CodeFault.FORGED}


def test_a_signature_for_another_purpose_does_not_count() -> None:
    body = base64.b32decode(TEXT[5:] + "===")[:44]
    assert fault(packed(body + Ed25519PrivateKey.from_private_bytes(KEY.seed).sign(body))) is CodeFault.FORGED


def test_old_and_new_keys_verify_side_by_side() -> None:
    read = verify_ticket_code(sign_ticket_code(OTHER_KEY, CODE), KEYS)
    assert (read.kid, read.code) == (OTHER_KEY.kid, CODE)


@pytest.mark.parametrize("seat_number", [-1, MAX_SEAT_NUMBER + 1])
def test_a_seat_number_has_48_bits(seat_number: int) -> None:
    code = TicketCode(event_id=EVENT, ticket_id=TICKET, seat_number=SeatNumber(seat_number), issue=1)
    with pytest.raises(ValueError, match="48 bits"):
        sign_ticket_code(KEY, code)


@pytest.mark.parametrize("issue", [0, MAX_ISSUE + 1])
def test_an_issue_number_is_1_to_65535(issue: int) -> None:
    code = TicketCode(event_id=EVENT, ticket_id=TICKET, seat_number=SeatNumber(0), issue=issue)
    with pytest.raises(ValueError, match="1 to 65535"):
        sign_ticket_code(KEY, code)


def test_public_keys_are_exported_newest_first() -> None:
    newest, older = export_public_keys([KEY, OTHER_KEY])
    assert (newest.kid, older.kid) == (OTHER_KEY.kid, KEY.kid)
    assert (older.kty, older.crv, older.use, older.alg) == ("OKP", "Ed25519", "sig", "EdDSA")
    assert base64.urlsafe_b64decode(older.x + "=") == KEY.public


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_is_a_seed_of_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_ticket_key(bytes(length), 0)
    with pytest.raises(ValueError, match="32 bytes"):
        TicketKey(kid=KEY.kid, seed=bytes(length), created_at_ms=0)


def test_a_key_under_another_id_is_refused() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        TicketKey(kid=OTHER_KEY.kid, seed=KEY.seed, created_at_ms=0)


def test_a_private_key_is_not_shown() -> None:
    shown = repr(new_ticket_key(b"S3CRET" * 5 + b"!!", 0))
    assert "S3CRET" not in shown
