"""The access token of a buyer whose turn it is. Saying it for the first time begins the shopping window."""

from __future__ import annotations

from config.settings import AuthSettings
from storage.engine import Command, Engine
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import event_partition
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.credentials.devices import DeviceHash
from ticketd.credentials.keyring import TokenKind
from ticketd.credentials.tokens import PlaceGrant, mint_access
from ticketd.domain.rooms import ClaimAccess, claim_access, find_entry
from ticketd.realtime.updates import AccessGrant
from ticketd.views.key_book import KeyBook


class AccessDesk:
    """Who tells buyers that it is their turn asks here, so that each of them says the same."""

    def __init__(self, engine: Engine, keys: KeyBook, settings: AuthSettings) -> None:
        self._engine = engine
        self._keys = keys
        self._settings = settings

    async def grant(self, event_id: EventId, entry: EntryRecord) -> AccessGrant:
        """The token of an entry that is READY or SHOPPING, and the end of its window; the same ones every time.

        Refuses QUEUE_ENTRY_EXPIRED with ``status``, also when the time to claim is over.
        """
        if entry.state is not EntryState.SHOPPING:
            kid = self._keys.keyring.signing_key(TokenKind.ACCESS).kid
            command = ClaimAccess(event_id=event_id, entry_id=entry.entry_id, kid=kid)
            committed = await self._engine.submit(
                Command("claim_access", (event_partition(event_id),), lambda tx: claim_access(tx, command))
            )
            entry = committed.result
        if entry.access_kid is None or entry.access_issued_at_ms is None or entry.due_at_ms is None:
            raise AssertionError("a shopping entry without its window")
        grant = PlaceGrant(
            user_id=entry.user_id,
            event_id=event_id,
            entry_id=entry.entry_id,
            device_hash=DeviceHash(entry.device_hash),
            jti=entry.entry_id,
            issued_at_ms=entry.access_issued_at_ms,
            ttl_seconds=self._settings.access_token_seconds,
        )
        minted = mint_access(self._keys.keyring, grant, entry.access_kid)
        return AccessGrant(minted.token, entry.due_at_ms)

    async def grant_by_id(self, event_id: EventId, entry_id: EntryId) -> AccessGrant:
        """As ``grant``, for the entry of this id; refuses QUEUE_ENTRY_EXPIRED for one that is gone, too."""
        with self._engine.snapshot(event_partition(event_id)) as view:
            entry = find_entry(view, event_id, entry_id, view.now_ms)
        return await self.grant(event_id, entry)
