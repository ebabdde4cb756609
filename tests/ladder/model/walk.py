"""Random walks by a seed: which transition comes next, by whom and with what, is drawn from one number a step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from tests.ladder.model.bare import SEATS, USERS, Bare
from tests.ladder.model.product import Product

LIMITS: Final = (1, 2, 3, 4)
"""The purchase limits of walks, by their seeds."""

_OFTEN: Final = (
    "join", "join", "join", "join", "claim", "claim", "claim", "claim", "leave", "reserve", "reserve", "reserve",
    "reserve", "reserve", "release", "release", "pay", "pay", "pay", "authorised", "authorised", "authorised",
    "refused", "captured", "captured", "cancel", "cancel", "cancel", "block", "unblock", "unblock", "set_room",
)  # fmt: skip
"""What is drawn, of 32."""
_COMING: Final = frozenset({"join", "claim"})
"""What anybody does; the rest is mostly done by whoever came in last."""
_CANCELS: Final = frozenset({"cancel"})
_TO_EDGE, _BEFORE_EDGE = -2, -1
_TIMES: Final = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, _TO_EDGE, _BEFORE_EDGE, 1, 499, 1_000, 5_000)
"""How much time passes before a step; or until the very moment at which something ends, or a millisecond less."""
_WANTED: Final[tuple[tuple[int, ...], ...]] = tuple(
    tuple((first + further) % SEATS for further in range(count))
    for first in range(SEATS)
    for count in (1, 1, 2, 2, 3, 4, 1, 2)
)


class Step(NamedTuple):
    """One transition: its name, its arguments, and how much time passes before it. ``user`` is who makes it; None is
    whoever came in last, -1 nobody."""

    name: str
    user: int | None
    arguments: tuple[object, ...]
    passes_ms: int


def steps(seed: int) -> Iterator[Step]:
    """The steps of a walk, without end."""
    draw = random.Random(seed).getrandbits
    while True:
        number = draw(32)
        name, passes_ms = _OFTEN[number & 31], _TIMES[number >> 12 & 15]
        anybody = (number >> 5) % USERS
        user = None if number >> 23 & 3 and name not in _COMING else anybody
        arguments: tuple[object, ...] = ()
        if name == "reserve":
            arguments = (_WANTED[number >> 16 & 127],)
        elif name in {"block", "unblock"}:
            user, arguments = -1, (number >> 16 & 15,)
        elif name == "set_room":
            user, arguments = -1, (1 + (number >> 16 & 3), 1 + (number >> 18 & 7), number >> 21 & 7 == 0)
        yield Step(name, user, arguments, passes_ms)


def walk_bare(seed: int, count: int) -> Bare:
    """So many of the steps that ``steps`` makes, of the bare model alone and without a tuple for each; its sums are
    checked with every change of the room."""
    bare = Bare(LIMITS[seed % len(LIMITS)])
    draw = random.Random(seed).getrandbits
    simple = set(_OFTEN) - {"reserve", "block", "unblock", "set_room", "cancel"}
    by_user: dict[str, Callable[[int], int]] = {name: getattr(bare, name) for name in simple}
    table = [by_user.get(name) for name in _OFTEN]
    coming = [name in _COMING for name in _OFTEN]
    wanted, times, users, settle = _WANTED, _TIMES, USERS, bare.settle
    for _ in range(count):
        number = draw(32)
        if passes_ms := times[number >> 12 & 15]:
            bare.now += passes_ms if passes_ms > 0 else _by_edge(bare, passes_ms)
            settle()
        kind = number & 31
        move = table[kind]
        user = bare.followed if number >> 23 & 3 and not coming[kind] else (number >> 5) % users
        if move is not None:
            move(user)
        elif (name := _OFTEN[kind]) == "reserve":
            bare.reserve(user, wanted[number >> 16 & 127])
        elif name == "cancel":
            bare.cancel(user, bare.oldest_order(user))
        elif name == "block":
            bare.block(number >> 16 & 15)
        elif name == "unblock":
            bare.unblock(number >> 16 & 15)
        else:
            bare.set_room(1 + (number >> 16 & 3), 1 + (number >> 18 & 7), number >> 21 & 7 == 0)
            bare.check()
        settle()
    bare.check()
    return bare


def _by_edge(bare: Bare, passes_ms: int) -> int:
    left_ms = bare.until_edge()
    return max(left_ms - (passes_ms == _BEFORE_EDGE), 0)


class Difference(AssertionError):
    """The product did something else than the model."""


class Pair:
    """The bare model and the product, step by step side by side."""

    def __init__(self, bare: Bare, product: Product) -> None:
        self.bare = bare
        self.product = product

    def take(self, step: Step) -> int:
        """One step of both; the number of its refusal. Raises Difference."""
        bare, product = self.bare, self.product
        if step.passes_ms:
            passes_ms = step.passes_ms if step.passes_ms > 0 else _by_edge(bare, step.passes_ms)
            bare.now += passes_ms
            product.pass_time(passes_ms)
            self._settle()
        user = bare.followed if step.user is None else step.user
        arguments = step.arguments if user < 0 else (user, *step.arguments)
        if step.name in _CANCELS:
            arguments = (user, bare.oldest_order(user))
        wanted: int = getattr(bare, step.name)(*arguments)
        found: int = getattr(product, step.name)(*arguments)
        if wanted != found:
            said, right = product.told(found), product.told(wanted)
            raise Difference(f"{step.name}{arguments} is answered {said}, by the model {right}")
        self._settle()
        return wanted

    def compare(self) -> None:
        """The whole state of both. Raises Difference."""
        wanted, found = picture(self.bare), self.product.picture()
        wrong = [name for name in wanted if wanted[name] != found[name]]
        if wrong:
            told = (f"{name}: {found[name]}, by the model {wanted[name]}" for name in wrong)
            raise Difference("; ".join(told))

    def _settle(self) -> None:
        """What is due by itself; the product is asked only where the model says that there is something."""
        if self.bare.settle():
            self.product.settle()


def picture(bare: Bare) -> dict[str, object]:
    """What can be seen of the model and of the product alike."""
    return {
        "line": list(bare.line),
        "places": {user: (state, bare.due[user]) for user, state in enumerate(bare.states) if state > 1},
        "counters": (len(bare.line), bare.active, bare.admitted),
        "seats": list(bare.seats),
        "total": (bare.free, bare.held_seats, bare.seats.count(2), bare.seats.count(3)),
        "purchases": {
            user: (bare.held[user], bare.bought[user])
            for user in range(USERS)
            if bare.held[user] or bare.bought[user]
        },
        "holds": sorted((hold.user, sorted(hold.seats), hold.expires, hold.due) for hold in bare.live),
    }
