"""``ticketd``: the command line as a whole. What each command does is its own file's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from config.settings import LogSettings
from ticketd.cli import (
    config,
    import_,
    keys,
    ledger,
    reconcile,
    refund,
    rehearse,
    room,
    serve,
    status,
    token,
    verify,
    verify_draw,
    version,
)
from ticketd.cli.failures import EXIT_USAGE, told_plainly
from ticketd.logs import set_up_logs

_ABOUT: Final = "A ticketing server: waiting room, seats, orders, payments and tickets in one daemon."
_BELOW: Final = """\
Commands that change or read the store work with the daemon up (over its operator's socket) and down.
Settings come from defaults, --config FILE, TICKETD_... variables and flags; the later wins.

  ticketd serve --demo              a server with events, a key and a tour, to try
  ticketd COMMAND --help            what a command takes
"""


class _Parser(argparse.ArgumentParser):
    """Tells what to type when the command line is wrong. An option is written out: a script must not break when another
    option comes to begin like it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n{self.format_usage().rstrip()}", file=sys.stderr)
        print(f"Type '{self.prog} --help' for all that it takes.", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it parses has ``run``, which takes the arguments."""
    parser = _Parser(
        prog="ticketd",
        description=_ABOUT,
        epilog=_BELOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (
        serve,
        import_,
        keys,
        token,
        room,
        refund,
        status,
        verify,
        verify_draw,
        ledger,
        reconcile,
        rehearse,
        config,
        version,
    ):
        command.add_command(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, that of the process by default. Answers 0; anything else ends in SystemExit."""
    parsed = build_parser().parse_args(arguments)
    # Printing is a command's answer; its log is for what goes wrong. ``serve`` sets up its own.
    set_up_logs(LogSettings(level="error"))
    with told_plainly():
        parsed.run(parsed)
    return 0
