"""``ticketd rehearse``: an on-sale played against a daemon, and a report of how it went."""

from __future__ import annotations

import argparse
import random
import resource
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from ticketd.cli.failures import CommandFailed, told_plainly
from ticketd.cli.options import Commands, add_json_option
from ticketd.rehearsal.client import Origin, parse_origin
from ticketd.rehearsal.crowd import MAX_BUYERS, CrowdPlan, Shares, make_crowd, parse_shares
from ticketd.rehearsal.judgement import StoreCheck
from ticketd.rehearsal.play import Bounds, NotPlayable, Played, play
from ticketd.rehearsal.progress import Progress
from ticketd.rehearsal.report import make_report, report_text
from ticketd.rehearsal.scratch import (
    SETTINGS_DIFFER,
    ScratchFailed,
    ScratchPlan,
    check_store,
    scratch_folder,
    scratch_stage,
)
from ticketd.rehearsal.stage import Stage

N = TypeVar("N", int, float)

EXIT_INTERRUPTED: Final = 130
_ABOUT: Final = """\
Plays an on-sale: a crowd of buyers who join, wait, choose seats, pay, leave and fail, over the real API. Then it tells
what was sold, whether anything was sold twice or anybody overtaken, how long answers took, and which admission rate
this machine can bear. Without --url it starts a daemon of its own on a scratch folder, with an event made for it, and
verifies its store at the end. Ends with 1 if anything was not as it must be."""


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``rehearse`` to the command line."""
    parser = commands.add_parser(
        "rehearse",
        help="play an on-sale and report how it went",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_crowd(parser)
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
    foreign = parser.add_argument_group("a daemon that runs already")
    foreign.add_argument(
        "--url", metavar="URL", type=_origin, help="where it listens, such as http://127.0.0.1:8080"
    )
    foreign.add_argument("--key", metavar="KEY", help="a storefront's API key, or a file that holds it")
    foreign.add_argument("--event", metavar="ID", help="the event's id")
    foreign.add_argument(
        "--this-server-is-mine", action="store_true", help="needed if the URL is not on this machine"
    )
    add_json_option(parser)
    parser.set_defaults(run=run_rehearse)


def run_rehearse(arguments: argparse.Namespace) -> None:
    """Plays, and prints the report. Raises CommandFailed if anything was not as it must be; SystemExit with 130 if it
    was interrupted before the end and all was well until then."""
    try:
        shares = parse_shares(arguments.shares, Shares())
    except ValueError as problem:
        raise CommandFailed(str(problem)) from None
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    crowd = CrowdPlan(
        buyers=arguments.buyers,
        seed=seed,
        shares=shares,
        arrive_seconds=arguments.arrive_seconds,
        think_seconds=arguments.think_seconds,
    )
    with told_plainly((NotPlayable, ScratchFailed)):
        played, store = _foreign(arguments, crowd) if arguments.url else _own(arguments, crowd)
    report = make_report(played, store, buyers=crowd.buyers, seed=seed)
    print(msgspec.json.encode(report).decode() if arguments.json else report_text(report))
    if not report.ok:
        raise CommandFailed("the rehearsal showed what must not be; the report names it")
    if played.interrupted:
        raise SystemExit(EXIT_INTERRUPTED)


def _own(arguments: argparse.Namespace, crowd: CrowdPlan) -> tuple[Played, StoreCheck]:
    if arguments.key or arguments.event:
        raise CommandFailed("--key and --event are for a daemon that --url names")
    plan = ScratchPlan(
        buyers=crowd.buyers,
        seats=arguments.seats or crowd.buyers,
        max_active=arguments.max_active or max(50, crowd.buyers // 5),
        admit_per_minute=arguments.admit_per_minute or max(600, crowd.buyers // 2),
        hold_seconds=arguments.hold_seconds,
        arrive_seconds=crowd.arrive_seconds,
        lobby=arguments.lobby,
        keep=arguments.keep,
        folder=arguments.data,
    )
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(plan))
        _say(
            f"{crowd.buyers} buyers, {plan.seats} seats, {plan.max_active} shoppers at once, "
            f"{plan.admit_per_minute} admissions a minute, seed {crowd.seed}; {SETTINGS_DIFFER}"
        )
        if plan.keep or plan.folder:
            _say(f"kept in {folder}")
        with scratch_stage(plan, folder) as stage:
            played = _play(arguments, crowd, stage)
        return played, check_store(folder, stage.event_id)


def _foreign(arguments: argparse.Namespace, crowd: CrowdPlan) -> tuple[Played, None]:
    origin: Origin = arguments.url
    if not arguments.key or not arguments.event:
        raise CommandFailed("--url needs --key and --event")
    for name in ("seats", "max_active", "admit_per_minute", "lobby", "data", "keep"):
        if getattr(arguments, name):
            raise CommandFailed(
                f"--{name.replace('_', '-')} is for a daemon that the rehearsal starts itself"
            )
    if not origin.is_loopback and not arguments.this_server_is_mine:
        raise CommandFailed(
            f"{origin.host} is not this machine; say --this-server-is-mine if you may load it"
        )
    file = Path(arguments.key)
    stage = Stage(
        origin=origin,
        api_key=file.read_text().strip() if _is_file(file) else arguments.key,
        event_id=arguments.event,
    )
    _say(
        f"{crowd.buyers} buyers will join the room of event {stage.event_id} at {origin.authority}, hold seats and pay "
        "them with the test cards of the sandbox; what they buy stays sold, and others wait behind them"
    )
    return _play(arguments, crowd, stage), None


def _play(arguments: argparse.Namespace, crowd: CrowdPlan, stage: Stage) -> Played:
    bounds = Bounds(
        connections=arguments.connections,
        timeout_seconds=arguments.timeout,
        time_limit_seconds=arguments.time_limit,
        max_requests=arguments.max_requests,
    )
    # A connection for each request under way and for each WebSocket; 1024 files are what a shell usually allows.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    progress = Progress(sys.stderr, crowd.buyers)
    try:
        return trio.run(partial(play, stage, make_crowd(crowd), bounds, crowd.seed, progress.show))
    finally:
        progress.finish()


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
        return parse_origin(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _say(sentence: str) -> None:
    print(f"ticketd: {sentence}", file=sys.stderr, flush=True)
