"""The keys in force, as a read model: API keys by id, the token keyring, ticket keys and the link key.

Rebuilt from the system's partition at start and after every ``KeysChanged``. A request never reads keys from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from storage.engine import Change, Engine
from storage.schema.events import KeysChanged
from storage.schema.layout import API_KEYS, SIGNING_KEYS, SYSTEM
from storage.schema.records import ApiKeyRecord, SigningKeyRecord
from ticketd.credentials.api_keys import ApiKeyInvalid, PresentedApiKey, is_secret_of, parse_api_key
from ticketd.credentials.external import ExternalIssuer
from ticketd.credentials.keyring import Keyring, SigningKey, TokenKind
from ticketd.credentials.verifier import TokenVerifier
from ticketd.domain.keys import LINK_KEY_KIND, TICKET_KEY_KIND
from ticketd.tickets.code import TicketKey, TicketKeyId

TOKEN_KEY_KINDS: Final = frozenset(kind.value for kind in TokenKind)


class KeyBook:
    """The keys of this daemon. ``external`` is the operator's identity provider, if one is configured, and
    ``outside_ms`` the time by which its tokens are judged; None for that of the calls."""

    def __init__(
        self,
        engine: Engine,
        external: ExternalIssuer | None,
        leeway_seconds: int,
        outside_ms: Callable[[], int] | None = None,
    ) -> None:
        self._engine = engine
        self._api_keys: dict[str, ApiKeyRecord] = {}
        self._good_texts: dict[str, ApiKeyRecord] = {}
        self.keyring = Keyring(())
        self.ticket_keys: tuple[TicketKey, ...] = ()
        self._link_secret = b""
        self._address_secret = b""
        self.tokens = TokenVerifier(self.keyring, external, leeway_seconds, outside_ms=outside_ms)
        engine.subscribe(self._follow)
        self._reload()

    def find_api_key(self, text: str) -> ApiKeyRecord | None:
        """The key whose text was sent; None if it is malformed, unknown, revoked, or its secret is wrong.

        The texts of good keys are remembered, each key having one, until any key changes.
        """
        good = self._good_texts.get(text)
        return good if good is not None else self._check_api_key(text)

    def _check_api_key(self, text: str) -> ApiKeyRecord | None:
        try:
            presented: PresentedApiKey = parse_api_key(text)
        except ApiKeyInvalid:
            return None
        record = self._api_keys.get(presented.key_id)
        if record is None or not is_secret_of(presented, record.secret_hash):
            return None
        if record.revoked_at_ms is not None:
            return None
        self._good_texts[text] = record
        return record

    @property
    def remembered(self) -> int:
        """How many texts of good API keys are remembered: at most one for each key."""
        return len(self._good_texts)

    @property
    def ticket_key(self) -> TicketKey:
        """The key that signs the codes of new tickets."""
        return self.ticket_keys[-1]

    @property
    def link_secret(self) -> bytes:
        """The 32 bytes by which links of this daemon's own are signed."""
        return self._link_secret

    @property
    def address_secret(self) -> bytes:
        """The 32 bytes under which client addresses are hashed: the store's first link key, which no rotation takes
        away, so that an address is known again for as long as the store lives."""
        return self._address_secret

    def find_ticket_key(self, kid: str) -> TicketKey | None:
        """The ticket key of this id, retired or not."""
        return next((key for key in self.ticket_keys if key.kid == kid), None)

    def _follow(self, changes: Sequence[Change]) -> None:
        if any(isinstance(change.event, KeysChanged) for change in changes):
            self._reload()

    def _reload(self) -> None:
        with self._engine.snapshot(SYSTEM) as view:
            self._api_keys = {record.key_id: record for _, record in API_KEYS.scan(view, SYSTEM)}
            stored = [record for _, record in SIGNING_KEYS.scan(view, SYSTEM)]
        self._good_texts.clear()
        self.keyring = Keyring(_token_key(record) for record in stored if record.kind in TOKEN_KEY_KINDS)
        self.tokens.use_keyring(self.keyring)
        self.ticket_keys = tuple(
            TicketKey(kid=TicketKeyId(record.kid), seed=record.secret, created_at_ms=record.created_at_ms)
            for record in _by_age(stored, TICKET_KEY_KIND)
        )
        links = _by_age(stored, LINK_KEY_KIND)
        self._link_secret = links[-1].secret if links else b""
        first = min(links, key=lambda record: (record.created_at_ms, record.kid), default=None)
        self._address_secret = first.secret if first is not None else b""


def _token_key(record: SigningKeyRecord) -> SigningKey:
    return SigningKey(
        kid=record.kid,
        kind=TokenKind(record.kind),
        secret=record.secret,
        created_at_ms=record.created_at_ms,
        retired_at_ms=record.retired_at_ms,
    )


def _by_age(records: Sequence[SigningKeyRecord], kind: str) -> list[SigningKeyRecord]:
    """The records of one kind: retired ones first, then by age, so that the last is the one in force."""
    return sorted(
        (record for record in records if record.kind == kind),
        key=lambda record: (record.retired_at_ms is None, record.created_at_ms, record.kid),
    )
