"""Committing an endpoint's decision, together with the outcome that its Idempotency-Key promises to repeat.

The first outcome of a key is stored in the same commit as its effect, so it is answered again byte for byte also after
a crash. Its scope is the buyer (or, without a token, the API key) and the route; it is kept for
``idempotency.retention_seconds``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from handlers.call import AnyCall, IdempotentRequest, Principal, Reply
from handlers.endpoint import Endpoint
from handlers.errors import error_reply
from handlers.services import Services
from storage.engine import Command, Partition, Reader, Transaction
from storage.overlay import nested
from storage.schema.layout import SYSTEM, buyer_partition
from storage.schema.records import OutcomeRecord
from ticketd.credentials.keyring import TokenKind
from ticketd.domain.outcomes import find_outcome, keep_outcome
from ticketd.errors import ErrorCode, Refusal

R = TypeVar("R")
Run = TypeVar("Run")

REPLAYED: Final = ("Idempotency-Replayed", "true")


def scope_partition(principal: Principal) -> Partition:
    """Where the outcomes of a caller's idempotent requests lie."""
    return SYSTEM if principal.claims is None else buyer_partition(principal.claims.user_id)


def idempotent_request(
    endpoint: Endpoint, principal: Principal, key: str, path: str, body: bytes
) -> IdempotentRequest:
    """The names under which a request with an Idempotency-Key is known. Refuses INVALID_REQUEST for a bad key."""
    if not (8 <= len(key) <= 128 and key.isascii() and key.isprintable()):
        raise Refusal(
            ErrorCode.INVALID_REQUEST,
            details={"header": "Idempotency-Key", "problem": "8 to 128 printable characters are allowed"},
        )
    claims, api_key = principal.claims, principal.api_key
    caller = f"user:{claims.user_id}" if claims else f"key:{api_key.key_id if api_key else ''}"
    name = "\x00".join((caller, endpoint.method, endpoint.path, key))
    # A queue token is itself what the request is about: its buyer may wait for two events.
    place = claims.entry_id.bytes if claims and claims.entry_id and claims.kind is TokenKind.QUEUE else b""
    return IdempotentRequest(
        digest=hashlib.sha256(name.encode()).digest(),
        fingerprint=hashlib.sha256(path.encode() + b"\x00" + place + body).digest(),
    )


def stored_reply(reader: Reader, scope: Partition, request: IdempotentRequest, now_ms: int) -> Reply | None:
    """The kept answer of an idempotent request, if it has one. Refuses IDEMPOTENCY_KEY_REUSED for another request."""
    found = find_outcome(reader, scope, request.digest, now_ms)
    if found is None:
        return None
    if found.fingerprint != request.fingerprint:
        raise Refusal(ErrorCode.IDEMPOTENCY_KEY_REUSED)
    return Reply(
        status=found.status,
        body=found.body,
        content_type=found.content_type,
        headers=(*found.headers, REPLAYED),
        kept=True,
    )


def outcome_of(reply: Reply, request: IdempotentRequest, forget_at_ms: int) -> OutcomeRecord:
    """What is stored of a reply."""
    return OutcomeRecord(
        fingerprint=request.fingerprint,
        status=reply.status,
        content_type=reply.content_type,
        body=reply.body,
        headers=reply.headers,
        forget_at_ms=forget_at_ms,
    )


class Decision(msgspec.Struct, Generic[R], frozen=True):
    """What an endpoint wants decided: a name for metrics, the partitions, the transition, and how its result is told.

    ``decide`` and ``render`` are run within the transaction, so both are pure. ``may_use_reserve`` is for what must go
    on when space is short, as ``Command`` says.
    """

    name: str
    partitions: tuple[Partition, ...]
    decide: Callable[[Transaction], R]
    render: Callable[[R], Reply]
    may_use_reserve: bool = False


async def commit(services: Services, call: AnyCall, decision: Decision[R]) -> Reply:
    """Runs a decision as one command and answers with its rendered result.

    With an Idempotency-Key the rendered answer, or the refusal, is stored in the same commit. Raises what the decision
    refuses, or what the engine raises.
    """
    partitions, decide, render = decision.partitions, decision.decide, decision.render
    request = call.idempotent
    if request is None:
        committed = await services.engine.submit(_command(decision, partitions, decide))
        return render(committed.result)
    scope = scope_partition(call.principal)
    retention_ms = services.settings.idempotency.retention_seconds * 1000

    def run(tx: Transaction) -> Reply:
        if (kept := stored_reply(tx, scope, request, tx.now_ms)) is not None:
            return kept
        inner = nested(tx)
        try:
            reply = render(decide(inner))
        except Refusal as refusal:
            if refusal.code.status >= 500 or refusal.code is ErrorCode.RATE_LIMITED:
                raise
            reply = error_reply(refusal, call.request_id, tx.now_ms)
        else:
            inner.merge_into(tx)
        keep_outcome(tx, scope, request.digest, outcome_of(reply, request, tx.now_ms + retention_ms))
        return Reply(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=reply.headers,
            kept=True,
        )

    named = partitions if scope in partitions else (*partitions, scope)
    return (await services.engine.submit(_command(decision, named, run))).result


def _command(
    decision: Decision[R], partitions: tuple[Partition, ...], run: Callable[[Transaction], Run]
) -> Command[Run]:
    return Command(decision.name, partitions, run, may_use_reserve=decision.may_use_reserve)


async def keep_reply(services: Services, scope: Partition, request: IdempotentRequest, reply: Reply) -> None:
    """Stores the outcome of an idempotent request that committed nothing itself, such as a refusal before its command.

    Not for answers of 429 and from 500 on, which a caller may try again.
    """
    if reply.kept or reply.status >= 500 or reply.status == 429:
        return
    retention_ms = services.settings.idempotency.retention_seconds * 1000

    def run(tx: Transaction) -> None:
        if find_outcome(tx, scope, request.digest, tx.now_ms) is None:
            keep_outcome(tx, scope, request.digest, outcome_of(reply, request, tx.now_ms + retention_ms))

    await services.engine.submit(Command("keep_reply", (scope,), run))
