"""The operator's keys: API keys made and revoked, signing keys rotated, and user tokens for tests and support.

A secret is told once, in the answer that makes it. So what makes one knows no Idempotency-Key, which would keep it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import cast

from handlers.answers import answer, no_content, optional_time, time_text
from handlers.call import AnyCall, Call, Reply
from handlers.commit import Decision, commit
from handlers.operator_deeds import NOTHING_TOLD, audited
from handlers.services import Services
from handlers.wire.common import PageQuery, page_of
from handlers.wire.operator import CreateKey, KeyCreated, KeyInfo, KeyList, KeyScope, SigningKeyRotated
from handlers.wire.sessions import CreateSession, SessionAnswer
from storage.engine import Transaction
from storage.schema.ids import UserId
from storage.schema.layout import SYSTEM
from storage.schema.records import ApiKeyRecord
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope, is_api_key_id
from ticketd.credentials.keyring import KEY_RANDOM_BYTES
from ticketd.credentials.tokens import mint_user
from ticketd.domain.keys import (
    NO_SUCH_KEY,
    SIGNING_KEY_KINDS,
    RevokeApiKey,
    add_api_key,
    fresh_api_key,
    fresh_signing_key,
    list_api_keys,
    revoke_api_key,
    rotate_signing_key,
)
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id


async def create_api_key(services: Services, call: Call[CreateKey]) -> Reply:
    """201 with a new API key, told this once. Refuses INVALID_REQUEST for a name not fit to be shown."""
    body = call.body
    try:
        text, record = fresh_api_key(
            os.urandom(API_KEY_RANDOM_BYTES), Scope(body.scope), body.name, services.clock.now_ms()
        )
    except ValueError as error:
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"field": "name", "problem": str(error)}) from None
    decide = audited(
        call,
        ("key.create", record.key_id),
        partial(add_api_key, record=record),
        lambda made: {"scope": made.scope, "name": made.name},
    )

    def render(made: ApiKeyRecord) -> Reply:
        created = KeyCreated(
            key_id=made.key_id,
            key=text,
            scope=body.scope,
            name=made.name,
            created_at=time_text(made.created_at_ms),
        )
        return answer(created, status=201)

    return await commit(services, call, Decision("add_api_key", (SYSTEM,), decide, render))


async def list_keys(services: Services, call: AnyCall) -> Reply:
    """200 with all API keys, revoked ones too, oldest first."""
    query = call.query_as(PageQuery)
    with services.engine.snapshot(SYSTEM) as view:
        shown, pagination = page_of(list_api_keys(view), query)
    return answer(KeyList(keys=[_told(record) for record in shown], pagination=pagination))


async def revoke_key(services: Services, call: AnyCall) -> Reply:
    """204; also for a key that was revoked before. Refuses NOT_FOUND."""
    key_id = call.path["key_id"]
    if not is_api_key_id(key_id):
        raise Refusal(ErrorCode.NOT_FOUND, NO_SUCH_KEY)
    decide = audited(
        call,
        ("key.revoke", key_id),
        partial(revoke_api_key, command=RevokeApiKey(key_id)),
        lambda _: NOTHING_TOLD,
    )
    decision = Decision("revoke_api_key", (SYSTEM,), decide, lambda _: no_content(), may_use_reserve=True)
    return await commit(services, call, decision)


async def rotate_key(services: Services, call: AnyCall) -> Reply:
    """201 with the id of the signing key now in force. Refuses NOT_FOUND for a kind that there is not."""
    kind = call.path["kind"]
    if kind not in SIGNING_KEY_KINDS:
        raise Refusal(ErrorCode.NOT_FOUND, details={"kinds": list(SIGNING_KEY_KINDS)})
    fresh = fresh_signing_key(kind, os.urandom(KEY_RANDOM_BYTES), services.clock.now_ms())
    decide = audited(
        call,
        ("signing-key.rotate", kind),
        partial(rotate_signing_key, fresh=fresh),
        lambda _: {"kid": fresh.kid},
    )
    rotated = SigningKeyRotated(kind=kind, kid=fresh.kid, created_at=time_text(fresh.created_at_ms))

    def render(_: None) -> Reply:
        return answer(rotated, status=201)

    return await commit(services, call, Decision("rotate_signing_key", (SYSTEM,), decide, render))


async def create_user_token(services: Services, call: Call[CreateSession]) -> Reply:
    """201 with a user token, which is told this once. Nothing of it but that it was made is stored."""
    user_id = UserId(call.body.user_id)
    minted = mint_user(
        services.keys.keyring, user_id, new_id(), services.clock.now_ms(), call.body.ttl_seconds
    )
    told = SessionAnswer(token=minted.token, expires_at=time_text(minted.claims.expires_at_ms))

    def decide(_: Transaction) -> Reply:
        return answer(told, status=201)

    deed = audited(
        call, ("token.create", str(user_id)), decide, lambda _: {"ttl_seconds": call.body.ttl_seconds}
    )
    return await commit(services, call, Decision("create_user_token", (SYSTEM,), deed, lambda reply: reply))


def _told(record: ApiKeyRecord) -> KeyInfo:
    return KeyInfo(
        key_id=record.key_id,
        scope=cast(KeyScope, record.scope),
        name=record.name,
        created_at=time_text(record.created_at_ms),
        revoked_at=optional_time(record.revoked_at_ms),
    )
