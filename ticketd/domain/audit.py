"""The operator's audit trail: who did what to what, one record in the commit of each deed."""

from __future__ import annotations

from uuid import UUID

import msgspec

from storage.engine import Transaction
from storage.schema.layout import AUDIT, SYSTEM
from storage.schema.records import AuditRecord


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be done by an operator. ``actor``: an API key's id, ``socket`` or ``command line``."""

    audit_id: UUID
    actor: str
    action: str
    subject: str
    detail: str = ""


def record_deed(tx: Transaction, deed: Deed) -> None:
    """Writes the record. The command that calls this names SYSTEM among its partitions."""
    record = AuditRecord(
        audit_id=deed.audit_id,
        at_ms=tx.now_ms,
        actor=deed.actor,
        action=deed.action,
        subject=deed.subject,
        detail=deed.detail,
    )
    AUDIT.put(tx, record, SYSTEM, tx.now_ms, deed.audit_id)
