"""Who calls: API key, rate limit, token, device, in that order."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import jwt
from fastapi import Request

from scripts.benchmarks.peers.store import Refused
from scripts.benchmarks.peers.tokens import Place, hash_device

_WINDOW_SECONDS = 60
_LIMIT = 1_000_000
_REQUIRED = ["exp", "iat", "aud", "sub", "jti"]


class RateCounter:
    """Calls of each caller within a minute."""

    def __init__(self) -> None:
        self._window = 0
        self._counts: dict[str, int] = {}

    def take(self, caller: str) -> None:
        window = int(time.time()) // _WINDOW_SECONDS
        if window != self._window:
            self._window, self._counts = window, {}
        count = self._counts[caller] = self._counts.get(caller, 0) + 1
        if count > _LIMIT:
            raise Refused(429, "RATE_LIMITED")


class Guard:
    """Judges the credentials of calls. ``api_keys``: the scope of each key's SHA-256."""

    def __init__(self, secret: str, api_keys: dict[str, str]) -> None:
        self._secret = secret
        self._api_keys = api_keys
        self._rates = RateCounter()

    def check_key(self, request: Request) -> str:
        """The key's scope."""
        text = request.headers.get("x-api-key", "")
        key_hash = hashlib.sha256(text.encode()).hexdigest()
        scope = self._api_keys.get(key_hash)
        if scope is None:
            raise Refused(401, "API_KEY_INVALID")
        return scope

    def check_caller(self, request: Request) -> None:
        """For calls that need no token."""
        self.check_key(request)
        self._rates.take(request.client.host if request.client else "")

    def check_token(self, request: Request, kind: str) -> Place:
        """For calls with a token of the kind ``queue`` or ``access``."""
        self.check_key(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "TOKEN_MISSING")
        claims = self._claims(token)
        self._rates.take(claims["sub"])
        if claims["aud"] != f"ticketd:{kind}":
            raise Refused(403, "TOKEN_KIND_NOT_ALLOWED")
        device = request.headers.get("x-device-id", "")
        if hash_device(device) != claims["device"]:
            raise Refused(403, "DEVICE_MISMATCH")
        return Place(claims["sub"], claims["event_id"], claims["entry_id"])

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=["ticketd:queue", "ticketd:access"],
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise Refused(401, "TOKEN_EXPIRED") from None
        except jwt.InvalidTokenError:
            raise Refused(401, "TOKEN_INVALID") from None
