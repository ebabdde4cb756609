"""``ticketd rehearse``: an on-sale played against a daemon, and a report of how it went."""

from __future__ import annotations

import argparse
import random
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from ticketd.cli.descriptors import lift_descriptor_limit
from ticketd.cli.failures import CommandFailed, told_plainly
from ticketd.cli.options import Commands, add_json_option
from ticketd.cli.rehearse_options import add_options
from ticketd.rehearsal.client import Origin
from ticketd.rehearsal.crowd import CrowdPlan, Shares, make_crowd, parse_shares
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
    add_options(parser)
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
        played: Played | None = None
        try:
            with scratch_stage(plan, folder) as stage:
                played = _play(arguments, crowd, stage)
            return played, check_store(folder, stage.event_id)
        except ScratchFailed as failure:
            # What was measured until then is told all the same: how a daemon ended is part of the report.
            if played is None:
                raise
            return played, StoreCheck(facts=None, problems=[str(failure)])


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
    lift_descriptor_limit()
    progress = Progress(sys.stderr, crowd.buyers)
    try:
        return trio.run(partial(play, stage, make_crowd(crowd), bounds, crowd.seed, progress.show))
    finally:
        progress.finish()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _say(sentence: str) -> None:
    print(f"ticketd: {sentence}", file=sys.stderr, flush=True)
