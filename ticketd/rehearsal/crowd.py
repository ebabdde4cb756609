"""The crowd: who comes when, and what each of them will do. Pure, and the same for the same seed.

It holds no ids: those are fresh for each rehearsal, so that a crowd can come twice to the same daemon.
"""

from __future__ import annotations

import enum
import random
from typing import Final

from msgspec import Struct

MAX_BUYERS: Final = 100_000
_WANTED: Final = (1, 2, 3, 4)
_WANTED_WEIGHTS: Final = (25, 45, 10, 20)
"""How many seats people want: most come as a pair."""


class Role(enum.StrEnum):
    """What a buyer does in the end. DECLINE: the first card is declined, another is tried."""

    BUY = "buy"
    LEAVE = "leave"
    NEVER_CLAIM = "never-claim"
    LET_HOLD_LAPSE = "let-hold-lapse"
    DECLINE = "decline"


class Shares(Struct, frozen=True, kw_only=True):
    """Percent of the buyers who do something else than buy; and, over all roles, who listen on the WebSocket."""

    leave: int = 10
    never_claim: int = 5
    let_hold_lapse: int = 5
    decline: int = 5
    realtime: int = 30


class CrowdPlan(Struct, frozen=True, kw_only=True):
    """What a crowd is made from. ``think_seconds`` is the mean time that a buyer looks at something."""

    buyers: int
    seed: int
    shares: Shares
    arrive_seconds: float
    think_seconds: float


class Person(Struct, frozen=True, kw_only=True):
    """One buyer: comes ``arrives_s`` after the start, looks at the seats for ``chooses_s`` and takes out a card for
    ``pays_s``. ``picks_seats`` is choosing on the seat map; else the best seats are asked for. ``leaves_waiting`` is
    for LEAVE: goes while still waiting, else once let in."""

    number: int
    role: Role
    realtime: bool
    arrives_s: float
    seats_wanted: int
    picks_seats: bool
    chooses_s: float
    pays_s: float
    leaves_waiting: bool


def check_shares(shares: Shares) -> None:
    """Refuses with ValueError a share outside 0 to 100 and roles of more than 100 percent together."""
    for name in shares.__struct_fields__:
        if not 0 <= getattr(shares, name) <= 100:
            raise ValueError(
                f"the share {name.replace('_', '-')} is 0 to 100 percent, not {getattr(shares, name)}"
            )
    together = shares.leave + shares.never_claim + shares.let_hold_lapse + shares.decline
    if together > 100:
        raise ValueError(
            f"leave, never-claim, let-hold-lapse and decline are {together} percent together, over 100"
        )


def parse_shares(text: str, base: Shares) -> Shares:
    """Shares written as ``leave=10,realtime=0``; what is not named is as in ``base``. Refuses with ValueError."""
    found = {name: getattr(base, name) for name in base.__struct_fields__}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        field = name.strip().replace("-", "_")
        if field not in found:
            raise ValueError(f"{name.strip()!r} is no share; they are {', '.join(found).replace('_', '-')}")
        if not value.strip().isdecimal():
            raise ValueError(f"the share {name.strip()} is a whole number of percent, not {value.strip()!r}")
        found[field] = int(value)
    shares = Shares(**found)
    check_shares(shares)
    return shares


def make_crowd(plan: CrowdPlan) -> list[Person]:
    """The crowd in order of arrival. Each share is met to the nearest whole buyer. Refuses as check_shares does."""
    check_shares(plan.shares)
    chance = random.Random(plan.seed)  # noqa: S311 - a repeatable crowd, not a secret
    roles = _roles(plan)
    chance.shuffle(roles)
    listening = [number < _part(plan.buyers, plan.shares.realtime) for number in range(plan.buyers)]
    chance.shuffle(listening)
    arrivals = sorted(chance.uniform(0, plan.arrive_seconds) for _ in range(plan.buyers))
    return [
        Person(
            number=number,
            role=roles[number],
            realtime=listening[number],
            arrives_s=arrivals[number],
            seats_wanted=chance.choices(_WANTED, _WANTED_WEIGHTS)[0],
            picks_seats=chance.random() < 0.5,
            chooses_s=chance.uniform(0, 2 * plan.think_seconds),
            pays_s=chance.uniform(0, 2 * plan.think_seconds),
            leaves_waiting=chance.random() < 0.5,
        )
        for number in range(plan.buyers)
    ]


def _roles(plan: CrowdPlan) -> list[Role]:
    """One role a buyer. The ends of the shares are rounded, not the shares: so they add up."""
    shares = plan.shares
    given = (
        (Role.LEAVE, shares.leave),
        (Role.NEVER_CLAIM, shares.never_claim),
        (Role.LET_HOLD_LAPSE, shares.let_hold_lapse),
        (Role.DECLINE, shares.decline),
    )
    roles: list[Role] = []
    end = 0
    for role, share in given:
        end += share
        roles += [role] * (_part(plan.buyers, end) - len(roles))
    return roles + [Role.BUY] * (plan.buyers - len(roles))


def _part(whole: int, percent: int) -> int:
    """``percent`` of ``whole``, to the nearest, a half up."""
    return (whole * percent + 50) // 100
