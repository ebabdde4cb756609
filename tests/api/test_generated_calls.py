"""Calls that Schemathesis makes out of our own API document, against the real daemon: none is answered with 500, and
every answer is as the document says. The calls are the same in every run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from handlers.answers import encode_json
from handlers.endpoint import Door, Endpoint
from handlers.openapi import build_document
from handlers.routes import ENDPOINTS
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving, ticketd
from ticketd.credentials.keyring import TokenKind

CALLS: Final = 12
DEVICE: Final = "device-1"
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
PUBLIC: Final = [line for line in ENDPOINTS if line.door is not Door.OPERATOR]
_DOCUMENT: Final[dict[str, Any]] = json.loads(encode_json(build_document(PUBLIC, "http://tickets.test", "1")))
SCHEMA: Final = schemathesis.openapi.from_dict(_DOCUMENT)


@dataclass
class Shop:
    """A daemon with an event, and a buyer with tokens of every kind."""

    daemon: DaemonProcess
    headers: dict[str, str]
    tokens: dict[TokenKind, str]
    event_id: str
    user_id: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    data: Path = tmp_path_factory.mktemp("generated") / "data"
    plan = data.parent / "event.json"
    plan.write_text(json.dumps(arena_file()))
    assert ticketd(data, "import", str(plan)).returncode == 0
    key = ticketd(data, "keys", "create", "--scope", "storefront").stdout.strip()
    headers = {"X-API-Key": key, "X-Device-ID": DEVICE}
    with serving(data) as daemon, httpx.Client(base_url=daemon.url, headers=headers) as client:
        (event,) = client.get("/v1/events/search").json()["events"]
        user_id = str(uuid4())
        join = {"event_id": event["event_id"], "user_id": user_id, "device_fingerprint": DEVICE}
        queue = client.post("/v1/queue/join", json=join).json()["queue_token"]
        access = client.get("/v1/queue/status", params={"queue_token": queue}).json()["access_token"]
        user = client.post("/v1/sessions", json={"user_id": user_id}).json()["token"]
        tokens = {TokenKind.USER: user, TokenKind.QUEUE: queue, TokenKind.ACCESS: access}
        yield Shop(daemon, headers, tokens, event["event_id"], user_id)
        assert client.get("/readyz").status_code == 200
        assert daemon.stop() == 0
    assert "request failed" not in daemon.log.read_text()
    assert "Traceback" not in daemon.log.read_text()


@pytest.mark.parametrize("line", PUBLIC, ids=[line.name for line in PUBLIC])
def test_every_answer_is_as_documented(shop: Shop, line: Endpoint) -> None:
    kinds: list[TokenKind | None] = [None]
    if line.credential.scopes and line.credential.kinds:
        kinds = [*sorted(line.credential.kinds)]

    operation = SCHEMA[line.path][line.method]
    calls = operation.as_strategy()
    if line.body is not None or line.query is not None:
        calls |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @settings(
        max_examples=CALLS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=calls, kind=st.sampled_from(kinds), known=st.booleans())
    def call(case: schemathesis.Case[Any], kind: TokenKind | None, known: bool) -> None:
        headers = dict(shop.headers)
        if kind is not None:
            headers["Authorization"] = f"Bearer {shop.tokens[kind]}"
        if case.query:
            case.query.pop("queue_token", None)
        if known:
            _aim(case, shop)
        response = case.call(base_url=shop.daemon.url, headers=headers, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)

    call()


def _aim(case: schemathesis.Case[Any], shop: Shop) -> None:
    """Makes the call one about what there is."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            for name, value in (("event_id", shop.event_id), ("user_id", shop.user_id)):
                if name in place:
                    place[name] = value
