from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from storage.schema.layout import SYSTEM
from tests.handlers.operator_stage import OperatorStage, open_stage
from tests.support.daemon import Client
from ticketd.domain.keys import SIGNING_KEY_KINDS


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[OperatorStage]:
    async with open_stage(tmp_path) as stage:
        yield stage


async def test_a_new_key_opens_the_api_at_once_and_a_revoked_one_no_more(stage: OperatorStage) -> None:
    made = await stage.operator.post("/v1/operator/keys", {"scope": "public", "name": "the app"})
    assert made.status == 201
    assert set(made.json) == {"key_id", "key", "scope", "name", "created_at"}
    caller = Client(stage.daemon.server, made.json["key"])
    assert (await caller.get("/v1/events/search")).status == 200
    refused = await caller.post("/v1/sessions", {"user_id": str(uuid4())})
    assert (refused.status, refused.code) == (403, "SCOPE_MISSING")
    path = f"/v1/operator/keys/{made.json['key_id']}"
    assert (await stage.operator.delete(path)).status == 204
    ended = await caller.get("/v1/events/search")
    assert (ended.status, ended.code) == (401, "API_KEY_INVALID")
    assert (await stage.operator.delete(path)).status == 204


async def test_keys_are_listed_without_their_secrets(stage: OperatorStage) -> None:
    made = await stage.operator.post("/v1/operator/keys", {})
    listed = await stage.operator.get("/v1/operator/keys?per_page=100")
    assert listed.json["pagination"]["total"] == len(listed.json["keys"]) == 6
    (told,) = (key for key in listed.json["keys"] if key["key_id"] == made.json["key_id"])
    assert told == {
        "key_id": made.json["key_id"],
        "scope": "storefront",
        "name": "",
        "created_at": made.json["created_at"],
        "revoked_at": None,
    }
    assert made.json["key"].split("_", 2)[2] not in listed.body.decode()
    second = await stage.operator.get("/v1/operator/keys?per_page=2&page=3")
    assert len(second.json["keys"]) == 2


async def test_the_secret_is_kept_nowhere_even_with_an_idempotency_key(stage: OperatorStage) -> None:
    headers = {"idempotency-key": "make-a-key"}
    made = [await stage.operator.post("/v1/operator/keys", {}, headers=headers) for _ in range(2)]
    assert made[0].json["key"] != made[1].json["key"]
    minted = await stage.operator.post(
        "/v1/operator/tokens", {"user_id": str(uuid4())}, headers={"idempotency-key": "mint-a-token"}
    )
    secrets = [made[0].json["key"].split("_", 2)[2], minted.json["token"].rsplit(".", 1)[1]]
    stored = b"".join(path.read_bytes() for path in stage.daemon.data.iterdir() if path.is_file())
    assert [secret for secret in secrets if secret.encode() in stored] == []


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "king"},
        {"scope": None},
        {"name": None},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"name": "a\u200eb"},
        {"keys": 2},
    ],
)
async def test_a_key_that_cannot_be_made(stage: OperatorStage, body: dict[str, object]) -> None:
    refused = await stage.operator.post("/v1/operator/keys", body)
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    assert await stage.audit() == []


async def test_the_longest_name(stage: OperatorStage) -> None:
    assert (await stage.operator.post("/v1/operator/keys", {"name": "é" * 100})).status == 201


@pytest.mark.parametrize("key_id", ["nosuchkey", "x" * 500, "%00", "tk_a_b"])
async def test_an_unknown_key_is_not_revoked(stage: OperatorStage, key_id: str) -> None:
    refused = await stage.operator.delete(f"/v1/operator/keys/{key_id}")
    assert (refused.status, refused.code) == (404, "NOT_FOUND")
    assert await stage.audit() == []


@pytest.mark.parametrize("kind", SIGNING_KEY_KINDS)
async def test_a_rotation_puts_another_key_in_force(stage: OperatorStage, kind: str) -> None:
    made = [await stage.operator.post(f"/v1/operator/signing-keys/{kind}/rotate") for _ in range(2)]
    assert [answer.status for answer in made] == [201, 201]
    assert made[0].json["kid"] != made[1].json["kid"]
    assert made[1].json["kind"] == kind
    assert [deed[1:] for deed in await stage.audit()] == [
        ("signing-key.rotate", kind, {"kid": answer.json["kid"]}) for answer in made
    ]


async def test_tokens_of_the_key_before_stay_good(stage: OperatorStage) -> None:
    user = await stage.daemon.user()
    await stage.operator.post("/v1/operator/signing-keys/user/rotate")
    assert (await user.get("/v1/orders")).status == 200
    assert (await (await stage.daemon.user()).get("/v1/orders")).status == 200


async def test_an_unknown_kind_is_not_rotated(stage: OperatorStage) -> None:
    refused = await stage.operator.post("/v1/operator/signing-keys/door/rotate")
    assert (refused.status, refused.code) == (404, "NOT_FOUND")


async def test_a_token_acts_for_its_buyer(stage: OperatorStage) -> None:
    user_id = str(uuid4())
    minted = await stage.operator.post("/v1/operator/tokens", {"user_id": user_id, "ttl_seconds": 60})
    assert minted.status == 201
    buyer = stage.daemon.client().with_token(minted.json["token"])
    assert (await buyer.get("/v1/orders")).status == 200
    assert await stage.audit() == [("socket", "token.create", user_id, {"ttl_seconds": 60})]


@pytest.mark.parametrize(("seconds", "status"), [(59, 400), (60, 201), (86400, 201), (86401, 400)])
async def test_the_bounds_of_a_tokens_life(stage: OperatorStage, seconds: int, status: int) -> None:
    minted = await stage.operator.post(
        "/v1/operator/tokens", {"user_id": str(uuid4()), "ttl_seconds": seconds}
    )
    assert minted.status == status


async def test_every_deed_is_in_the_commit_of_its_change(stage: OperatorStage) -> None:
    engine = stage.daemon.services.engine
    with engine.snapshot(SYSTEM) as view:
        before = view.version(SYSTEM)
    await stage.operator.post("/v1/operator/keys", {})
    with engine.snapshot(SYSTEM) as view:
        assert view.version(SYSTEM) == before + 1
