"""The options of ``ticketd rehearse``, with their bounds. What is made of them does not belong here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ticketd.rehearsal.client import Origin, parse_origin
from ticketd.rehearsal.crowd import MAX_BUYERS

N = TypeVar("N", int, float)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the crowd, of the bounds, and of the daemon that it is played on."""
    _add_crowd(parser)
    _add_bounds(parser)
    _add_own(parser)
    _add_foreign(parser)


def _add_crowd(parser: argparse.ArgumentParser) -> None:
    crowd = parser.add_argument_group("the crowd")
    crowd.add_argument(
        "--buyers", metavar="N", type=_number(int, 1, MAX_BUYERS), default=500, help="how many (default: 500)"
    )
    crowd.add_argument(
        "--arrive-seconds",
        metavar="S",
        type=_number(float, 0, 86_400),
        default=10.0,
        help="within which they come (default: 10)",
    )
    crowd.add_argument(
        "--think-seconds",
        metavar="S",
        type=_number(float, 0, 3600),
        default=1.0,
        help="how long a buyer looks at seats, and again at the card, on average (default: 1)",
    )
    crowd.add_argument(
        "--shares",
        metavar="NAME=PERCENT,…",
        default="",
        help="what buyers do: leave=10, never-claim=5, let-hold-lapse=5, decline=5, the rest buys; realtime=30 listen "
        "on the WebSocket instead of polling (these are the defaults)",
    )
    crowd.add_argument(
        "--seed",
        metavar="N",
        type=_number(int, 0, 2**32 - 1),
        help="the same number brings the same crowd (default: a new one)",
    )


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    bounds = parser.add_argument_group("bounds")
    bounds.add_argument(
        "--time-limit",
        metavar="S",
        type=_number(float, 1, 86_400),
        default=900.0,
        help="the longest it may take (default: 900)",
    )
    bounds.add_argument(
        "--max-requests",
        metavar="N",
        type=_number(int, 1, 100_000_000),
        default=2_000_000,
        help="the most it may send (default: 2000000)",
    )
    bounds.add_argument(
        "--connections",
        metavar="N",
        type=_number(int, 1, 20_000),
        default=256,
        help="requests at once (default: 256)",
    )
    bounds.add_argument(
        "--timeout",
        metavar="S",
        type=_number(float, 1, 600),
        default=30.0,
        help="how long one request may take (default: 30)",
    )


def _add_own(parser: argparse.ArgumentParser) -> None:
    own = parser.add_argument_group("a daemon of its own (the default)")
    own.add_argument(
        "--seats",
        metavar="N",
        type=_number(int, 1, 200_000),
        help="seats of the event (default: one a buyer)",
    )
    own.add_argument(
        "--max-active",
        metavar="N",
        type=_number(int, 1, 1_000_000),
        help="shoppers at once (default: a fifth of the buyers, at least 50)",
    )
    own.add_argument(
        "--admit-per-minute",
        metavar="N",
        type=_number(int, 1, 1_000_000),
        help="admissions a minute (default: half the buyers, at least 600)",
    )
    own.add_argument(
        "--hold-seconds",
        metavar="N",
        type=_number(int, 1, 3600),
        default=20,
        help="how long seats are held (default: 20)",
    )
    own.add_argument("--lobby", action="store_true", help="the crowd comes before the sale opens")
    own.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="the scratch folder, empty or not there yet; it is kept (default: a temporary one)",
    )
    own.add_argument("--keep", action="store_true", help="keep the temporary folder: store and log")


def _add_foreign(parser: argparse.ArgumentParser) -> None:
    foreign = parser.add_argument_group("a daemon that runs already")
    foreign.add_argument(
        "--url", metavar="URL", type=_origin, help="where it listens, such as http://127.0.0.1:8080"
    )
    foreign.add_argument("--key", metavar="KEY", help="a storefront's API key, or a file that holds it")
    foreign.add_argument("--event", metavar="ID", help="the event's id")
    foreign.add_argument(
        "--this-server-is-mine", action="store_true", help="needed if the URL is not on this machine"
    )


def _number(kind: type[N], lowest: N, highest: N) -> Callable[[str], N]:
    """What reads a number of an option within its bounds."""

    def read(text: str) -> N:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text} is not within {lowest} and {highest}")
        return value

    return read


def _origin(text: str) -> Origin:
    try:
        origin = parse_origin(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
    if origin.tls:
        raise argparse.ArgumentTypeError(
            "a rehearsal speaks plain HTTP only: start the daemon without a certificate, or type the address at which "
            "the proxy before it reaches it, such as http://127.0.0.1:8080"
        )
    return origin
