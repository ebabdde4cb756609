"""``ticketd verify``: walks the whole store and names what is wrong in it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from storage.clock import SystemClock
from storage.data_folder import exposures
from storage.open import open_reader
from storage.schema.events import EVENT_CODEC
from storage.verify import verify_store
from ticketd.cli.failures import CommandFailed, tell
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``verify`` to the command line."""
    parser = commands.add_parser(
        "verify",
        help="check the whole store",
        description="Walks the whole store, with the daemon up or down, and names every invariant that does not hold: "
        "a seat has one owner, counts equal a recount, a confirmed order has its seats, tickets and money, limits "
        "hold. Changes nothing. Ends with 1 if anything is wrong.",
    )
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_verify)


def run_verify(arguments: argparse.Namespace) -> None:
    """Prints each problem as it is found, as JSON one a line with their number last. Raises CommandFailed if there was
    one."""
    settings = load_for(arguments)
    data = Path(settings.storage.data)
    found = 0
    with (
        open_reader(data, settings.storage, SystemClock(), EVENT_CODEC) as reads,
        reads.snapshot() as view,
    ):
        for sentence in exposures(data):
            tell(f"warning: {sentence}")
        for problem in verify_store(view):
            found += 1
            print(msgspec.json.encode(problem).decode() if arguments.json else problem)
            sys.stdout.flush()
    if arguments.json:
        print(msgspec.json.encode({"problems": found}).decode())
    if found:
        raise CommandFailed(f"{found} {'problem' if found == 1 else 'problems'} in {data}")
    if not arguments.json:
        print("nothing is wrong")
