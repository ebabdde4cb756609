"""The fuzz: every part at every front of the daemon, in rounds, with the daemon looked at at rest after each round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import trio

from tests.ladder.fuzz.cases import Log, Play, play_cases
from tests.ladder.fuzz.documents import play_documented_calls
from tests.ladder.fuzz.event_files import play_event_files
from tests.ladder.fuzz.parsers import play_parsers
from tests.ladder.fuzz.scene import Scene, set_scene
from tests.ladder.fuzz.tokens import play_token
from tests.ladder.fuzz.websocket import play_websocket
from tests.ladder.fuzz.wire import play_wire
from tests.ladder.house import FREE_OF_LIMITS, House, Vitals, open_house
from tests.ladder.rung import Budget, Figure, Finding, Verdict
from tests.ladder.soak.slopes import Trend, judge_drift
from tests.support.events import room

ENVIRONMENT: Final = {
    **FREE_OF_LIMITS,
    # A request that never ends is over soon.
    "TICKETD_SERVER_HEADER_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_BODY_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_IDLE_TIMEOUT_SECONDS": "1",
    "TICKETD_SERVER_SEND_TIMEOUT_SECONDS": "2",
    "TICKETD_REALTIME_PING_SECONDS": "1",
    "TICKETD_REALTIME_PONG_TIMEOUT_SECONDS": "1",
    "TICKETD_REALTIME_STALLED_SECONDS": "2",
}
FRONTS: Final = ("fast", "hypercorn")
"""The ways in which the daemon speaks HTTP."""
ROUND_SECONDS: Final = 20.0
FEWEST_ROUNDS: Final = 2
SPARE_SECONDS: Final = 2.5
"""Of each front's time, for starting and stopping the daemon."""
MIB: Final = 1024 * 1024
ALLOWED_COUNT: Final = 3
ALLOWED_MEMORY_MIB: Final = 24


class Part(msgspec.Struct, frozen=True):
    """One kind of cases, and its part of the time."""

    name: str
    share: float
    play: Callable[[Scene, Log, float], None]


def _at_once(name: str, play: Play) -> Callable[[Scene, Log, float], None]:
    """Plays a part whose cases are played some at a time."""

    def run(scene: Scene, log: Log, seconds: float) -> None:
        trio.run(partial(play_cases, scene, log, name, play, seconds))

    return run


PARTS: Final = (
    Part("wire", 4, _at_once("wire", play_wire)),
    Part("websocket", 2, _at_once("websocket", play_websocket)),
    Part("tokens", 1, _at_once("tokens", play_token)),
    Part("parsers", 1, play_parsers),
    Part("event files", 1, play_event_files),
    Part("documented calls", 2, play_documented_calls),
)


def climb(budget: Budget) -> Verdict:
    """Fuzzes every front for its part of the time."""
    found: list[str] = []
    figures: dict[str, Figure] = {}
    for front in FRONTS:
        log = Log(budget.seed, prefix=f"{front} front: ")
        environ = {**ENVIRONMENT, "TICKETD_SERVER_FRONT": front}
        folder = budget.folder / front
        folder.mkdir()
        with open_house(folder, environ, waiting_room=room(admit_per_minute=60_000)) as house:
            looks = _play_rounds(house, log, budget.seconds / len(FRONTS) - SPARE_SECONDS)
            found += [*log.found, *(log.prefix + wrong for wrong in (*grown(looks), *house.end()))]
        for name, cases in log.played.items():
            figures[f"{front}_{name.replace(' ', '_')}"] = cases
        figures[f"{front}_memory_mib"] = looks[-1].own_memory_bytes / MIB
    repeat = f"scripts/ladder --rung fuzz --seed {budget.seed} --minutes {budget.seconds / 60:.3g}"
    return Verdict(
        figures=figures,
        findings=tuple(Finding(what=what, repeat=repeat) for what in found),
    )


def _play_rounds(house: House, log: Log, seconds: float) -> list[Vitals]:
    """Plays all parts in each round; how the daemon was after each."""
    scene = trio.run(set_scene, house)
    rounds = max(int(seconds / ROUND_SECONDS), FEWEST_ROUNDS)
    shares = sum(part.share for part in PARTS)
    looks: list[Vitals] = []
    for _ in range(rounds):
        for part in PARTS:
            part.play(scene, log, max(seconds, 0) / rounds * part.share / shares)
            if (status := house.daemon.process.poll()) is not None:
                log.found.append(f"{part.name}: the daemon is gone, with status {status}")
                return looks or [_GONE]
        looks.append(house.rest())
    return looks


_GONE: Final = Vitals(0, 0, 0, 0, 0, 0, 0, 0, 0.0)


def grown(looks: list[Vitals]) -> list[str]:
    """What has grown from the first round's rest to the last's, when nothing was left to do.

    Memory is judged by its trend, if there were rounds enough: the first rounds fill what is kept on purpose.
    """
    found = []
    for name in ("descriptors", "tasks", "reader_slots", "websockets"):
        first, last = getattr(looks[0], name), getattr(looks[-1], name)
        if last - first > ALLOWED_COUNT:
            found.append(f"{name} grew from {first} to {last}")
    later = looks[len(looks) // 4 :]
    memory = [(float(at), look.own_memory_bytes / MIB) for at, look in enumerate(later)]
    drift = judge_drift(memory, ALLOWED_MEMORY_MIB)
    if drift.trend is Trend.GROWS:
        found.append(f"own memory grew by {drift.low:.3g} to {drift.high:.3g} MiB, to {memory[-1][1]:.4g}")
    return found
