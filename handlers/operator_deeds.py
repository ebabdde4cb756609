"""What every change of an operator has in common: one commit, with one audit record in it that says who did what.

A deed that turns out to change nothing leaves no record. Which deeds there are is the other operator files' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from handlers.answers import encode_json
from handlers.call import AnyCall
from storage.engine import Transaction
from ticketd.domain.audit import Deed, record_deed
from ticketd.errors import Detail
from ticketd.ids import new_id

R = TypeVar("R")

COMMAND_LINE: Final = "command line"
"""The client's name of a call that ``ticketd`` makes on a store that no daemon has open."""
SOCKET: Final = "socket"

NOTHING_TOLD: Final[Mapping[str, Detail]] = {}


def actor_of(call: AnyCall) -> str:
    """Who an operator's call comes from: an API key's id, ``socket`` or ``command line``."""
    if call.principal.api_key is not None:
        return call.principal.api_key.key_id
    return COMMAND_LINE if call.client == COMMAND_LINE else SOCKET


def audited(
    call: AnyCall,
    what: tuple[str, str],
    decide: Callable[[Transaction], R],
    detail_of: Callable[[R], Mapping[str, Detail] | None],
) -> Callable[[Transaction], R]:
    """``decide`` with a record of it in the same transaction; its command names SYSTEM among its partitions.

    ``what`` is the action and its subject. ``detail_of`` tells what is written beside them; None if nothing changed.
    """
    action, subject = what
    audit_id, actor = new_id(), actor_of(call)

    def run(tx: Transaction) -> R:
        result = decide(tx)
        detail = detail_of(result)
        if detail is not None:
            text = encode_json(detail).decode()
            deed = Deed(audit_id=audit_id, actor=actor, action=action, subject=subject, detail=text)
            record_deed(tx, deed)
        return result

    return run
