"""The one place where a token that was sent becomes claims.

A token is this daemon's or an outside issuer's, and its key id tells which. Checking a signature costs far
more than a look-up, and a client sends the same token again and again. The cache holds only what was found
genuine, is bounded, and is emptied when the keys change; times are judged anew at every look-up. Used from
one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ticketd.credentials.claims import (
    DEFAULT_LEEWAY_SECONDS,
    Claims,
    TokenExpired,
    TokenInvalid,
    check_times,
)
from ticketd.credentials.external import ExternalIssuer
from ticketd.credentials.jws import check_form, read_header
from ticketd.credentials.keyring import Keyring
from ticketd.credentials.tokens import verify_own

DEFAULT_CACHE_ENTRIES: Final = 16_384


class TokenVerifier:
    """Verifies tokens of every kind.

    ``leeway_seconds`` is 0 or more, ``cache_entries`` 1 or more, else ValueError. ``outside_ms`` tells the time of the
    world outside, by which an outside issuer's tokens are judged: this daemon's may be ahead of it for hours. None
    where the two are the same.
    """

    def __init__(
        self,
        keyring: Keyring,
        external: ExternalIssuer | None = None,
        leeway_seconds: int = DEFAULT_LEEWAY_SECONDS,
        cache_entries: int = DEFAULT_CACHE_ENTRIES,
        outside_ms: Callable[[], int] | None = None,
    ) -> None:
        if leeway_seconds < 0 or cache_entries < 1:
            raise ValueError("a verifier has a leeway of 0 seconds or more and a cache of 1 entry or more")
        self._keyring = keyring
        self._external = external
        self._leeway_seconds = leeway_seconds
        self._cache_entries = cache_entries
        self._outside_ms = outside_ms
        # By its text: a hash that nobody can invert would cost more than all the rest of a look-up. So this takes up to
        # 4 KiB for each token of an outside issuer, and a few hundred bytes for each of this daemon's own, whose
        # signing keys are in memory beside it.
        self._cache: OrderedDict[str, Claims] = OrderedDict()

    @property
    def cached(self) -> int:
        """How many tokens the cache holds."""
        return len(self._cache)

    def use_keyring(self, keyring: Keyring) -> None:
        """From now on these keys verify this daemon's tokens; what others verified is forgotten."""
        self._keyring = keyring
        self._cache.clear()

    def use_external(self, external: ExternalIssuer | None) -> None:
        """From now on this outside issuer's tokens are accepted, and no other's."""
        self._external = external
        self._cache.clear()

    def verify(self, token: str, now_ms: int) -> Claims:
        """What a token says, of whatever kind: the caller judges ``claims.kind``.

        A key id of the keyring means a token of this daemon; any other is for the outside issuer, if there is
        one. Refuses as ``verify_own`` and ``ExternalIssuer.verify`` do: TokenInvalid, TokenExpired.
        """
        claims = self._cache.get(token)
        if claims is None:
            return self._keep(token, self._verify_anew(token, now_ms))
        try:
            at_ms = now_ms if claims.issuer is None else self._outside_time(now_ms)
            check_times(claims, at_ms, self._leeway_seconds)
        except (TokenExpired, TokenInvalid):
            del self._cache[token]
            raise
        self._cache.move_to_end(token)
        return claims

    def _keep(self, token: str, claims: Claims) -> Claims:
        self._cache[token] = claims
        if len(self._cache) > self._cache_entries:
            self._cache.popitem(last=False)
        return claims

    def _verify_anew(self, token: str, now_ms: int) -> Claims:
        check_form(token)
        kid = read_header(token).kid
        if self._external is None or (kid is not None and self._keyring.find(kid) is not None):
            return verify_own(token, self._keyring, now_ms, self._leeway_seconds)
        return self._external.verify(token, self._outside_time(now_ms), self._leeway_seconds)

    def _outside_time(self, now_ms: int) -> int:
        return now_ms if self._outside_ms is None else self._outside_ms()
