"""Who is counted for a call, and in which class: between the API key and the token, before any body is read.

Every answer of a call that was counted tells of its limit, whatever becomes of the call afterwards.
"""

from __future__ import annotations

from typing import Final

from handlers.call import ListenerKind, RawRequest
from handlers.endpoint import Endpoint
from handlers.services import Services
from storage.schema.records import ApiKeyRecord
from ticketd.credentials.api_keys import Scope
from ticketd.credentials.claims import Claims
from ticketd.credentials.keyring import TokenKind
from ticketd.rate_limits.addresses import subscriber_of
from ticketd.rate_limits.classes import RateClass
from ticketd.rate_limits.limits import Caller, Verdict

_SOCKET: Final = Caller(b"socket")
_STOREFRONT: Final = Scope.STOREFRONT.value


class Meter:
    """Counts one request. ``address`` is its client's, behind trusted proxies too; "" on the operator's Unix socket;
    ``now_ms`` is when it came."""

    __slots__ = ("_listener", "_services", "_verdict", "address", "now_ms")

    def __init__(self, services: Services, request: RawRequest) -> None:
        self._services = services
        self._listener = request.listener
        self._verdict: Verdict | None = None
        self.now_ms = services.clock.now_ms()
        self.address: str = services.proxies.client_address(request.client, request.headers)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer tells of the limit; nothing if the call was not counted."""
        return () if self._verdict is None else self._verdict.headers

    def count_call(self, endpoint: Endpoint, api_key: ApiKeyRecord | None, claims: Claims | None) -> None:
        """Counts a call whose API key is good; ``claims`` are a genuine token's. Refuses RATE_LIMITED."""
        rate, limits = endpoint.rate, self._services.rate_limits
        if claims is None and rate is RateClass.JOIN and _speaks_for_many(api_key):
            rate = RateClass.SESSIONS
        verdict = self._verdict = limits.take(rate, self._caller(api_key, claims), self.now_ms)
        if verdict is not None and not verdict.is_allowed:
            raise limits.refusal(verdict)

    def count_stray(self, endpoint: Endpoint | None = None) -> None:
        """Counts a call that finds no endpoint, or brings no key that opens it. Its own refusal comes first."""
        if endpoint is not None and endpoint.rate is RateClass.UNLIMITED:
            return
        self._verdict = self._services.rate_limits.take(
            RateClass.OTHER, self._caller(None, None), self.now_ms
        )

    def _caller(self, api_key: ApiKeyRecord | None, claims: Claims | None) -> Caller:
        return (
            _SOCKET if self._listener is ListenerKind.OPERATOR else caller_of(self.address, api_key, claims)
        )


def caller_of(address: str, api_key: ApiKeyRecord | None, claims: Claims | None) -> Caller:
    """Who is counted: the place in line of a queue token, the buyer of another; else the API key at this address."""
    if claims is not None:
        if claims.kind is TokenKind.QUEUE and claims.entry_id is not None:
            return Caller(b"entry" + claims.entry_id.bytes)
        return Caller(b"buyer" + claims.user_id.bytes, is_buyer=True)
    key_id = api_key.key_id if api_key is not None else ""
    return Caller(f"{key_id} at {subscriber_of(address)}".encode())


def _speaks_for_many(api_key: ApiKeyRecord | None) -> bool:
    """Whether a call without a token is one of a storefront's, which joins for many buyers."""
    return api_key is not None and api_key.scope == _STOREFRONT
