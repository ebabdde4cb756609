"""The signed text in a ticket's QR code, which a gate checks with a public key and without a network.

The text is ``TKD1:`` and 173 characters, 178 in all, every one of them of the QR alphanumeric mode::

    TKD1:  BASE32(body ‖ signature)       RFC 4648 alphabet A-Z 2-7, upper case, without padding

    body, 44 bytes, integers big-endian    offset  bytes  field
                                                0      4  key id (the first 4 bytes of SHA-256 of the public
                                                key) 4     16  event id (UUID)
                                               20     16  ticket id (UUID)
                                               36      6  seat number within the event
                                               42      2  issue number, 1 to 65,535
    signature, 64 bytes: Ed25519 (RFC 8032) over  "ticketd ticket code 1" ‖ 0x00 ‖ body

The layout is a promise to those who build gates (``docs/ticket-code.md``, with test vectors): another layout
takes another prefix. Whether a genuine ticket is the latest issue, was used or was cancelled is the store's
to say, not this text's.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NewType
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.schema.ids import EventId, SeatNumber, TicketId

TicketKeyId = NewType("TicketKeyId", str)
"""Four bytes as eight lower-case hexadecimal digits."""

PREFIX: Final = "TKD1:"
CODE_LENGTH: Final = 178
SEED_BYTES: Final = 32
MAX_SEAT_NUMBER: Final = 2**48 - 1
MAX_ISSUE: Final = 2**16 - 1

_CONTEXT: Final = b"ticketd ticket code 1\x00"
_BODY_BYTES: Final = 44
_TEXT = re.compile(r"TKD1:([A-Z2-7]{173})")
_PADDING: Final = "==="


class CodeFault(enum.StrEnum):
    """Why a text is no valid ticket code, in the order in which it is judged."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown key"
    FORGED = "forged"


class TicketCodeInvalid(Exception):
    """The text is not a code that one of the known keys signed."""

    def __init__(self, fault: CodeFault) -> None:
        super().__init__(f"not a valid ticket code: {fault.value}")
        self.fault = fault


class TicketKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that signs ticket codes: ``seed`` is the 32-byte private key of RFC 8032, else ValueError."""

    kid: TicketKeyId
    seed: bytes
    created_at_ms: int

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"a ticket key is a seed of {SEED_BYTES} bytes, not {len(self.seed)}")
        if self.kid != _key_id(self.public):
            raise ValueError("the id of a ticket key does not follow from its public key")

    def __repr__(self) -> str:
        return f"TicketKey(kid={self.kid!r})"

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()


class PublicTicketKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as gates are given it: a JSON Web Key (RFC 8037), ``x`` being the key in base64url."""

    kid: TicketKeyId
    x: str
    kty: str = "OKP"
    crv: str = "Ed25519"
    use: str = "sig"
    alg: str = "EdDSA"


class TicketCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a ticket code says.

    ``seat_number`` is 0 to 2**48 - 1; ``issue`` is 1 to 65,535, one more with each transfer of the seat.
    """

    event_id: EventId
    ticket_id: TicketId
    seat_number: SeatNumber
    issue: int


class VerifiedTicketCode(msgspec.Struct, frozen=True):
    """A genuine code and the key that signed it."""

    code: TicketCode
    kid: TicketKeyId


def new_ticket_key(random: bytes, now_ms: int) -> TicketKey:
    """A fresh key out of 32 random bytes; another number of bytes is a ValueError."""
    if len(random) != SEED_BYTES:
        raise ValueError(f"a ticket key is made of {SEED_BYTES} random bytes, not {len(random)}")
    public = Ed25519PrivateKey.from_private_bytes(random).public_key().public_bytes_raw()
    return TicketKey(kid=_key_id(public), seed=random, created_at_ms=now_ms)


def export_public_keys(keys: Iterable[TicketKey]) -> list[PublicTicketKey]:
    """The public halves of the keys, the newest first."""
    newest_first = sorted(keys, key=lambda key: (-key.created_at_ms, key.kid))
    return [
        PublicTicketKey(kid=key.kid, x=base64.urlsafe_b64encode(key.public).decode("ascii").rstrip("="))
        for key in newest_first
    ]


def sign_ticket_code(key: TicketKey, code: TicketCode) -> str:
    """The text of a code: always the same for the same key and code.

    A seat number or an issue number out of range is a ValueError.
    """
    if not 0 <= code.seat_number <= MAX_SEAT_NUMBER:
        raise ValueError("a seat number has 48 bits")
    if not 1 <= code.issue <= MAX_ISSUE:
        raise ValueError(f"an issue number is 1 to {MAX_ISSUE}")
    body = b"".join(
        (
            bytes.fromhex(key.kid),
            code.event_id.bytes,
            code.ticket_id.bytes,
            code.seat_number.to_bytes(6, "big"),
            code.issue.to_bytes(2, "big"),
        )
    )
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(_CONTEXT + body)
    return PREFIX + base64.b32encode(body + signature).decode("ascii").rstrip("=")


def verify_ticket_code(text: str, public_keys: Mapping[TicketKeyId, bytes]) -> VerifiedTicketCode:
    """What a text says if one of ``public_keys`` (by key id, 32 bytes each) signed it.

    Refuses with TicketCodeInvalid, in this order: MALFORMED (any other length, character, prefix or bits left
    over; spaces and line ends around it too; issue 0), UNKNOWN_KEY, FORGED.
    """
    body, signature = _decode(text)
    issue = int.from_bytes(body[42:44], "big")
    if issue == 0:
        raise TicketCodeInvalid(CodeFault.MALFORMED)
    kid = TicketKeyId(body[0:4].hex())
    public = public_keys.get(kid)
    if public is None:
        raise TicketCodeInvalid(CodeFault.UNKNOWN_KEY)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _CONTEXT + body)
    except InvalidSignature:
        raise TicketCodeInvalid(CodeFault.FORGED) from None
    code = TicketCode(
        event_id=EventId(UUID(bytes=body[4:20])),
        ticket_id=TicketId(UUID(bytes=body[20:36])),
        seat_number=SeatNumber(int.from_bytes(body[36:42], "big")),
        issue=issue,
    )
    return VerifiedTicketCode(code, kid)


def _decode(text: str) -> tuple[bytes, bytes]:
    """Body and signature of a text in its one true form."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise TicketCodeInvalid(CodeFault.MALFORMED)
    try:
        raw = base64.b32decode(match[1] + _PADDING)
    except binascii.Error:
        raise TicketCodeInvalid(CodeFault.MALFORMED) from None
    # The last character has one bit to spare; were it free, every ticket would have two texts.
    if base64.b32encode(raw).decode("ascii") != match[1] + _PADDING:
        raise TicketCodeInvalid(CodeFault.MALFORMED)
    return raw[:_BODY_BYTES], raw[_BODY_BYTES:]


def _key_id(public: bytes) -> TicketKeyId:
    return TicketKeyId(hashlib.sha256(public).digest()[:4].hex())
