"""Tokens that are nearly right, and right ones at the wrong door: none may open anything."""

from __future__ import annotations

import base64
import json
import random
from enum import Enum
from typing import Final
from urllib.parse import quote

import msgspec

from tests.front.raw_websocket import upgrade
from tests.ladder.caller import NO_ANSWER, Caller
from tests.ladder.fuzz.answers import Answer, wrong_about
from tests.ladder.fuzz.mutation import change_document
from tests.ladder.fuzz.scene import Scene
from ticketd.credentials.keyring import TokenKind

_ALGORITHMS: Final = (
    "none",
    "None",
    "",
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "ES256",
    "EdDSA",
    "PS256",
    5,
    None,
)


class Way(Enum):
    """How a token is sent."""

    HEADER = "header"
    QUERY = "query"
    SOCKET = "socket"


class Door(msgspec.Struct, frozen=True):
    """Something to open, and the kinds of tokens that do."""

    method: str
    target: str
    kinds: frozenset[TokenKind]
    body: object = None


def _doors(scene: Scene) -> list[Door]:
    wish = {"event_id": scene.house.event_id, "user_id": scene.user_id, "quantity": 1}
    user, queue, access = TokenKind.USER, TokenKind.QUEUE, TokenKind.ACCESS
    return [
        Door("GET", "/v1/queue/status", frozenset({queue})),
        Door("DELETE", "/v1/queue/leave", frozenset({queue})),
        Door("POST", "/v1/seats/reserve", frozenset({access}), wish),
        Door("GET", "/v1/orders", frozenset({user, access})),
        Door("GET", "/v1/payment-methods", frozenset({user, access})),
        Door("GET", "/v1/tickets", frozenset({user, access})),
        Door("GET", f"/v1/events/{scene.house.event_id}", frozenset({user, access})),
    ]


async def play_token(scene: Scene, chance: random.Random) -> str | None:
    """Tries one token that is no right one for what it is to open."""
    door = chance.choice(_doors(scene))
    kind = chance.choice(list(TokenKind))
    token = scene.tokens[kind]
    is_right = kind not in door.kinds and chance.random() < 0.2
    if not is_right:
        token = nearly(chance, token, scene.tokens[chance.choice(list(TokenKind))])
        if token in scene.tokens.values():
            return None
    caller = Caller(scene.house, scene.device)
    try:
        way = Way.HEADER if is_right else chance.choice(list(Way))
        answer = await _try(caller, door, token, way)
    except NO_ANSWER as end:
        return f"no answer to {door.method} {door.target} with {token[:2000]!r}: {end!r}"
    finally:
        caller.vanish()
    judged = Answer(answer.status, answer.headers, answer.body)
    wrong = wrong_about(judged) or (
        None if answer.status in {400, 401, 403, 431} else f"answered {answer.status} {answer.body[:200]!r}"
    )
    return None if wrong is None else f"{door.method} {door.target} with {token[:2000]!r}: {wrong}"


async def _try(caller: Caller, door: Door, token: str, way: Way) -> Answer:
    """Tries the token in some way. What no header can hold goes into a query; so does a queue token, if it likes."""
    quoted = quote(token, safe="")
    if way is Way.SOCKET:
        client = await caller.opened()
        got = await client.ask(upgrade(f"/v1/realtime?token={quoted}"))
    elif way is Way.QUERY or not (token.isascii() and token.isprintable()):
        got = await caller.ask("GET", f"/v1/queue/status?queue_token={quoted}")
    else:
        caller.token = token
        got = await caller.ask(door.method, door.target, door.body)
    return Answer(got.status, got.headers, got.body)


def nearly(chance: random.Random, token: str, other: str) -> str:
    """A token that is nearly this one, or is put together from both."""
    header, claims, signature = parts = token.split(".")
    others = other.split(".")
    match chance.randrange(9):
        case 0:
            changed = {**_read(header), "alg": chance.choice(_ALGORITHMS)}
            parts = [_written(changed), claims, chance.choice((signature, "", "AA"))]
        case 1:
            parts = [_written(change_document(chance, _read(header))), claims, signature]
        case 2:
            parts = [header, _written(change_document(chance, _read(claims))), signature]
        case 3:
            at = chance.randrange(3)
            parts = [*parts[:at], *others[at:]]
        case 4:
            kid = chance.choice((_read(others[0]).get("kid"), "../../dev/null", "", None, "a" * 5000))
            parts = [_written({**_read(header), "kid": kid}), claims, signature]
        case 5:
            parts = chance.choice(([header, claims], [header, claims, ""], [*parts, ""], [*parts, signature]))
        case 6:
            more: dict[str, object] = {
                "crit": ["exp"],
                "b64": False,
                "jku": "http://127.0.0.1/",
                "jwk": {},
                "x5u": "x",
                "zip": "DEF",
            }
            name = chance.choice(sorted(more))
            parts = [_written({**_read(header), name: more[name]}), claims, signature]
        case 7:
            claim: dict[str, object] = {
                "exp": 2**40,
                "sub": "x",
                "aud": ["a", "b"],
                "iat": "1",
                "jti": None,
                "nbf": 2**40,
            }
            name = chance.choice(sorted(claim))
            parts = [header, _written({**_read(claims), name: claim[name]}), signature]
        case _:
            at = chance.randrange(len(token))
            more_or_less = chance.choice(("", "A", "=", ".", "\x00", "é", "+", " ", "-_" * 3000))
            parts = [token[:at] + more_or_less + token[at + 1 :]]
    return ".".join(parts)


def _read(part: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _written(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
