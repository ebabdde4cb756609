"""Calls that Schemathesis makes out of the API document: those of ``tests/api``, with other seeds and no end."""

from __future__ import annotations

import random
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from handlers.endpoint import Endpoint
from tests.api.test_generated_calls import CHECKS, PUBLIC, SCHEMA
from tests.ladder.fuzz.cases import Log
from tests.ladder.fuzz.scene import Scene
from ticketd.credentials.keyring import TokenKind

PART: Final = "documented calls"
CALLS: Final = 10
"""Of one endpoint, one after another."""


def play_documented_calls(scene: Scene, log: Log, seconds: float) -> None:
    """Makes some calls of one endpoint after another, for so long."""
    over = log.until(PART, seconds)
    while not over():
        number = log.played.get(PART, 0)
        line = PUBLIC[log.chance(PART, number).randrange(len(PUBLIC))]
        wrong, made = _call(scene, line, log.chance(PART, number))
        for at in range(max(made, 1)):
            log.note(PART, number + at, wrong if at == 0 else None)


def _call(scene: Scene, line: Endpoint, chance: random.Random) -> tuple[str | None, int]:
    """Makes the calls; what was wrong with one, with the command that repeats it, and how many were made."""
    made = 0
    operation = SCHEMA[line.path][line.method]
    calls = operation.as_strategy()
    if line.body is not None or line.query is not None:
        calls |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    wants_token = bool(line.credential.scopes and line.credential.kinds)
    kinds: list[TokenKind | None] = [*sorted(line.credential.kinds)] if wants_token else [None]

    @seed(chance.getrandbits(64))
    @settings(
        max_examples=CALLS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=calls, kind=st.sampled_from(kinds), known=st.booleans())
    def call(case: schemathesis.Case[Any], kind: TokenKind | None, known: bool) -> None:
        nonlocal made
        made += 1
        headers = {"X-API-Key": scene.house.key, "X-Device-ID": scene.device}
        if kind is not None:
            headers["Authorization"] = f"Bearer {scene.tokens[kind]}"
        if case.query:
            case.query.pop("queue_token", None)
        if known:
            _aim(case, scene)
        response = case.call(base_url=scene.house.daemon.url, headers=headers, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)

    try:
        call()
    except Exception as error:  # Schemathesis and Hypothesis raise groups of their own
        return f"{line.method} {line.path}: {str(error)[:3000]}", made
    return None, made


def _aim(case: schemathesis.Case[Any], scene: Scene) -> None:
    """Makes the call one about what there is."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            for name, value in (("event_id", scene.house.event_id), ("user_id", scene.user_id)):
                if name in place:
                    place[name] = value
