"""``ticketd version``: which version this is."""

from __future__ import annotations

import argparse

import msgspec

from ticketd.cli.options import Commands, add_json_option
from ticketd.version import VERSION


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``version`` to the command line."""
    parser = commands.add_parser("version", help="print the version", description="Prints the version.")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    add_json_option(parser)
    parser.set_defaults(run=run_version)


def run_version(arguments: argparse.Namespace) -> None:
    """Prints the version."""
    print(msgspec.json.encode({"version": VERSION}).decode() if arguments.json else f"ticketd {VERSION}")
