"""What happens in a simulation, as data: made from a seed, cut down by the shrinker, kept in a file, played again.

True here: an action that is left out takes nothing away from what the others mean. Times are milliseconds since the
simulation began; what a step's ``x`` chooses among is settled when it is played, by what is there then.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

MINUTE_MS: Final = 60_000
BUYERS_A_HALL: Final = 40


class Hall(msgspec.Struct, frozen=True, kw_only=True):
    """An event: rows of ten seats and the settings of its sale. Seconds and rates are small, so that much happens.

    ``lobby_ms`` is when its lobby opens and ``opens_ms`` when its sale does; 0: it is on sale from the beginning.
    """

    rows: int
    purchase_limit: int
    hold_seconds: int
    max_active: int
    admit_per_minute: int
    capacity: int
    claim_seconds: int
    access_seconds: int
    lobby_ms: int = 0
    opens_ms: int = 0
    presale_ms: int = 0
    enabled: bool = True
    refund_fees: bool = True


class Step(msgspec.Struct, frozen=True, array_like=True):
    """One thing that a visitor does; ``x`` says how, or which."""

    do: str
    x: int = 0


class Visit(msgspec.Struct, frozen=True, kw_only=True, tag="visit"):
    """Somebody comes to an event and does one thing after the other. One buyer may make several visits at once."""

    at_ms: int
    buyer: int
    hall: int
    steps: tuple[Step, ...]


class Operate(msgspec.Struct, frozen=True, kw_only=True, tag="operate"):
    """An operator, or a till, does something to an event."""

    at_ms: int
    hall: int
    do: str
    x: int


class Trouble(msgspec.Struct, frozen=True, kw_only=True, tag="trouble"):
    """The next ``times`` calls of an operation of the gateway fail or are slow."""

    at_ms: int
    call: str
    kind: str
    times: int


class Crash(msgspec.Struct, frozen=True, kw_only=True, tag="crash"):
    """The daemon dies at the ``commits``-th commit from now on, before it is made or right after it is durable, and is
    started again ``down_ms`` later."""

    at_ms: int
    commits: int
    after: bool
    down_ms: int


class Restart(msgspec.Struct, frozen=True, kw_only=True, tag="restart"):
    """The daemon is ended between two commits and started again."""

    at_ms: int
    down_ms: int


class ClockStep(msgspec.Struct, frozen=True, kw_only=True, tag="clock"):
    """Somebody sets the machine's clock, forwards or back."""

    at_ms: int
    by_ms: int


Action: TypeAlias = Visit | Operate | Trouble | Crash | Restart | ClockStep


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A whole simulation. All that is not written here follows from the seed."""

    seed: int
    halls: tuple[Hall, ...]
    actions: tuple[Action, ...]


def encode_script(script: Script) -> bytes:
    """The script as a file that can be read and changed by hand."""
    return msgspec.json.format(msgspec.json.encode(script), indent=1)


def decode_script(data: bytes) -> Script:
    """What ``encode_script`` has made."""
    return msgspec.json.decode(data, type=Script)


def write_script(seed: int, *, minutes: int = 60, halls: int = 4, visits_a_minute: float = 1.0) -> Script:
    """A script of so many minutes of sale in so many halls; ``visits_a_minute`` is for each of them."""
    chance = random.Random(seed)
    end_ms = minutes * MINUTE_MS
    actions: list[Action] = []
    for hall in range(halls):
        for at_ms in _times(chance, round(minutes * visits_a_minute), end_ms):
            buyer = hall * BUYERS_A_HALL + chance.randrange(BUYERS_A_HALL)
            steps = chance.choice(_VISITS)(chance)
            actions.append(Visit(at_ms=at_ms, buyer=buyer, hall=hall, steps=tuple(steps)))
        for at_ms in _times(chance, minutes // 4, end_ms):
            do = chance.choices(list(_OPERATIONS), list(_OPERATIONS.values()))[0]
            actions.append(Operate(at_ms=at_ms, hall=hall, do=do, x=chance.randrange(1 << 16)))
    for at_ms in _times(chance, minutes // 3, end_ms):
        call = chance.choice(
            ("authorise", "capture", "void", "refund", "fetch", "find_by_order", "describe_method")
        )
        kind = chance.choice(("before", "after", "slow", "late", "lost"))
        actions.append(Trouble(at_ms=at_ms, call=call, kind=kind, times=chance.choice((1, 1, 2, 5))))
    for at_ms in _times(chance, max(minutes // 8, 1), end_ms):
        commits, down_ms = chance.randint(1, 12), chance.choice((0, 1, 800, 5_000, 70_000))
        actions.append(Crash(at_ms=at_ms, commits=commits, after=chance.random() < 0.6, down_ms=down_ms))
    for at_ms in _times(chance, max(minutes // 30, 1), end_ms):
        down_ms = chance.choice((0, 3_000, 1_200_000))
        by_ms = chance.choice((-5_000, -700, 700, 4_000, 45_000, 400_000))
        actions += [
            Restart(at_ms=at_ms, down_ms=down_ms),
            ClockStep(at_ms=chance.randrange(end_ms), by_ms=by_ms),
        ]
    actions.sort(key=lambda action: action.at_ms)
    return Script(
        seed=seed, halls=tuple(_hall(chance, number) for number in range(halls)), actions=tuple(actions)
    )


def _times(chance: random.Random, count: int, end_ms: int) -> list[int]:
    """Times, of which many are the same: those who come together meet."""
    times: list[int] = []
    while len(times) < count:
        at_ms = chance.randrange(end_ms)
        times.extend([at_ms] * min(chance.choice((1, 1, 1, 2, 3, 5)), count - len(times)))
    return times


def _hall(chance: random.Random, number: int) -> Hall:
    lobby = number % 4 == 1
    return Hall(
        rows=chance.choice((1, 2, 3, 6)),
        purchase_limit=chance.choice((1, 2, 4, 6)),
        hold_seconds=chance.choice((5, 45, 120, 300)),
        max_active=chance.choice((1, 2, 4, 8)),
        admit_per_minute=chance.choice((1, 3, 6, 30)),
        capacity=chance.choice((3, 8, 1000)),
        claim_seconds=chance.choice((10, 60, 120)),
        access_seconds=chance.choice((30, 120, 600)),
        lobby_ms=chance.randrange(1, 4 * MINUTE_MS) if lobby else 0,
        opens_ms=chance.randrange(5 * MINUTE_MS, 12 * MINUTE_MS) if lobby else 0,
        presale_ms=4 * MINUTE_MS if lobby and chance.random() < 0.5 else 0,
        enabled=number % 4 != 3 or chance.random() < 0.5,
        refund_fees=chance.random() < 0.5,
    )


_OPERATIONS: Final = {
    "pause": 2,
    "resume": 4,
    "max_active": 2,
    "admit_per_minute": 2,
    "capacity": 1,
    "block": 3,
    "unblock": 3,
    "refund": 4,
    "refund_ticket": 3,
    "reprice": 1,
    "grow": 1,
    "shrink": 1,
    "cancel_event": 0.15,
    "delete_event": 0.3,
    "sell_at_till": 4,
    "refund_at_till": 2,
    "look": 1,
}
"""What operators and tills do, by how often."""


def _any(chance: random.Random) -> int:
    return chance.randrange(1 << 16)


def _steps(chance: random.Random, *names: str) -> list[Step]:
    return [Step(name, _any(chance)) for name in names]


def _shop(chance: random.Random) -> list[Step]:
    """The way that buyers take, with some turns."""
    steps = _steps(chance, "join", "enter")
    if chance.random() < 0.3:
        steps += _steps(chance, "listen")
    if chance.random() < 0.3:
        steps += _steps(chance, "look")
    steps += _steps(chance, chance.choice(("reserve", "reserve", "pick")))
    if chance.random() < 0.2:
        steps += _steps(chance, "reserve_again")
    if chance.random() < 0.2:
        steps += _steps(chance, chance.choice(("release", "hold", "wait")))
    return steps


def _buy(chance: random.Random) -> list[Step]:
    steps = [*_shop(chance), *_steps(chance, "card", "pay")]
    if chance.random() < 0.3:
        steps += _steps(chance, chance.choice(("repeat", "pay", "act")))
    steps += _steps(chance, "act") if chance.random() < 0.4 else []
    steps += _steps(chance, "wait", "order") if chance.random() < 0.4 else []
    return steps


def _regret(chance: random.Random) -> list[Step]:
    return [*_buy(chance), *_steps(chance, *chance.choices(("wait", "cancel", "repeat"), k=3), "order")]


def _give(chance: random.Random) -> list[Step]:
    ends = ("accept", "accept", "decline", "take_back", "cancel", "gate", "offer")
    return [*_buy(chance), *_steps(chance, "wait", "gate", "offer", *chance.choices(ends, k=2))]


def _dawdle(chance: random.Random) -> list[Step]:
    """Holds seats and lets them go by doing nothing; pays, if at all, too late."""
    return [*_shop(chance), Step("wait_long", _any(chance)), *_steps(chance, "hold", "pay", "order")]


def _poll_wildly(chance: random.Random) -> list[Step]:
    return _steps(chance, "join", *["status"] * chance.randint(2, 12), "leave")


def _swarm(chance: random.Random) -> list[Step]:
    """Many joins, from one device or from many."""
    return _steps(
        chance, *chance.choices(("join", "join_as_other", "resume", "leave"), k=chance.randint(3, 9))
    )


def _hoard(chance: random.Random) -> list[Step]:
    return _steps(chance, "join", "enter", *chance.choices(("reserve", "pick", "reserve_again"), k=6))


def _listen(chance: random.Random) -> list[Step]:
    return _steps(chance, "join", "listen", "wait", "status", "wait_long", "status", "leave")


def _trespass(chance: random.Random) -> list[Step]:
    ways = (
        "foreign_hold",
        "foreign_event",
        "foreign_order",
        "wrong_device",
        "queue_token_shops",
        "bad_bodies",
    )
    return [*_shop(chance), *_steps(chance, *chance.choices(ways, k=4))]


def _browse(chance: random.Random) -> list[Step]:
    return _steps(chance, *chance.choices(("look", "search", "event", "lists", "draw"), k=4))


_ALL: Final = (
    "join", "enter", "status", "reserve", "pick", "release", "card", "pay", "act", "wait", "cancel", "order", "offer",
    "accept", "repeat", "leave", "resume", "hold", "gate", "lists", "look", "take_back", "forget_card",
)  # fmt: skip


def _wander(chance: random.Random) -> list[Step]:
    """Anything in any order."""
    return _steps(chance, "join", "enter", *chance.choices(_ALL, k=chance.randint(3, 12)))


_VISITS: Final[tuple[Callable[[random.Random], list[Step]], ...]] = (
    _buy, _buy, _buy, _regret, _regret, _give, _give, _dawdle, _poll_wildly, _swarm, _hoard, _listen, _trespass,
    _browse, _wander, _wander,
)  # fmt: skip
