"""The symmetric keys that sign this daemon's own tokens, each for one kind of token, known by a key id.

A keyring never changes: a rotation makes another one. It knows no clock and no store, and its secrets never
appear in a ``repr``. What a token says is in ``tokens``.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from typing import Final

import msgspec

SECRET_BYTES: Final = 32
KEY_RANDOM_BYTES: Final = SECRET_BYTES + 8

_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class TokenKind(enum.StrEnum):
    """What a token is for. Each kind has keys of its own and an audience of its own."""

    USER = "user"
    QUEUE = "queue"
    ACCESS = "access"

    @property
    def audience(self) -> str:
        """The ``aud`` claim of this kind, such as ``ticketd:queue``."""
        return f"ticketd:{self.value}"


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """One HMAC-SHA256 key. A retired key signs no new token and still verifies old ones, until it is removed.

    ``kid`` is 1 to 64 of ``A-Z a-z 0-9 _ . -``; ``secret`` is 32 bytes. Anything else is a ValueError.
    """

    kid: str
    kind: TokenKind
    secret: bytes
    created_at_ms: int
    retired_at_ms: int | None = None

    def __post_init__(self) -> None:
        if not _KID.fullmatch(self.kid):
            raise ValueError("a key id is 1 to 64 letters, digits, '_', '.' or '-'")
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"a token key is {SECRET_BYTES} bytes, not {len(self.secret)}")

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, kind={self.kind.name})"


class NoSigningKey(LookupError):
    """The keyring has no key that could sign what was asked for."""


class Keyring:
    """The token keys in force. Two keys with one id are a ValueError."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._by_kid: dict[str, SigningKey] = {}
        for key in keys:
            if key.kid in self._by_kid:
                raise ValueError(f"two token keys have the id {key.kid}")
            self._by_kid[key.kid] = key
        self._newest: dict[TokenKind, SigningKey] = {}
        # The id breaks a tie of two keys made in the same millisecond, so that every process chooses alike.
        for key in sorted(self._by_kid.values(), key=lambda key: (key.created_at_ms, key.kid)):
            if key.retired_at_ms is None:
                self._newest[key.kind] = key

    def signing_key(self, kind: TokenKind) -> SigningKey:
        """The newest key of ``kind`` that is not retired; NoSigningKey if there is none."""
        try:
            return self._newest[kind]
        except KeyError:
            raise NoSigningKey(f"there is no {kind.value} token key in force") from None

    def find(self, kid: str) -> SigningKey | None:
        """The key of this id, retired or not."""
        return self._by_kid.get(kid)


def new_signing_key(kind: TokenKind, random: bytes, now_ms: int) -> SigningKey:
    """A fresh key out of ``KEY_RANDOM_BYTES`` (40) random bytes; another number of bytes is a ValueError."""
    if len(random) != KEY_RANDOM_BYTES:
        raise ValueError(f"a token key is made of {KEY_RANDOM_BYTES} random bytes, not {len(random)}")
    kid = f"{kind.value}-{random[SECRET_BYTES:].hex()}"
    return SigningKey(kid=kid, kind=kind, secret=random[:SECRET_BYTES], created_at_ms=now_ms)
