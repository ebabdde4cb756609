"""Questions about an endpoint or a caller by which the calls of the matrix are chosen."""

from __future__ import annotations

from uuid import UUID

from handlers.endpoint import Endpoint
from tests.api.judging import (
    Judge,
)
from tests.support.daemon import Client
from ticketd.credentials.keyring import TokenKind

UNKNOWN = str(UUID(int=0xDEAD))
"""An id that nothing has."""
JSON = {"content-type": "application/json"}


def has_key(line: Endpoint) -> bool:
    return bool(line.credential.scopes)


def takes_a_body(line: Endpoint) -> bool:
    return line.method in {"POST", "PUT", "DELETE"}


def kind_of(judge: Judge, client: Client) -> TokenKind | None:
    """The kind of the token that a sample's caller has."""
    if client.token is None:
        return None
    services = judge.world.daemon.services
    return services.keys.tokens.verify(client.token, services.clock.now_ms()).kind


def with_key(client: Client, key: str | None) -> Client:
    return Client(client.server, key, client.token, client.device, client.listener)
