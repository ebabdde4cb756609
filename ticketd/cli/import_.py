"""``ticketd import``: event files into the store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from ticketd.cli.backend import Backend, OperatorRefused, call
from ticketd.cli.counts import counted
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend

_STDIN: Final = "-"


class _Imported(msgspec.Struct, frozen=True, kw_only=True):
    file: str = ""
    event_id: UUID
    outcome: str
    seats: int
    seats_added: int
    seats_removed: int


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``import`` to the command line."""
    parser = commands.add_parser(
        "import",
        help="read event files into the store",
        description="Reads event files. A file that has a fault is refused whole, with each fault in its place; the "
        "others are imported. An import done twice changes nothing. Ends with 1 if any file was refused.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="an event file; - for standard input")
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_import)


def run_import(arguments: argparse.Namespace) -> None:
    """Imports each file. Raises CommandFailed at the end if any was refused."""
    settings = load_for(arguments)
    refused = 0
    with open_backend(settings, create=True) as backend:
        for file in arguments.files:
            try:
                done = _import(backend, file)
            except (OperatorRefused, OSError) as problem:
                refused += 1
                print("\n".join(_told(file, problem)), file=sys.stderr)
            else:
                _print(done, as_json=arguments.json)
    if refused:
        raise CommandFailed(f"{refused} of {len(arguments.files)} files were not imported")


def _import(backend: Backend, file: str) -> _Imported:
    data = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
    done = msgspec.json.decode(call(backend, "POST", "/v1/operator/events", data), type=_Imported)
    return msgspec.structs.replace(done, file=file)


def _told(file: str, problem: OperatorRefused | OSError) -> list[str]:
    """One line for each fault of a file."""
    if isinstance(problem, OSError):
        return [f"{file}: {problem.strerror or problem}"]
    faults = problem.error.details.get("faults")
    if not isinstance(faults, list):
        return [f"{file}: {problem}"]
    lines = [f"{file}: {fault['where']}: {fault['message']}" for fault in faults]
    more = problem.error.details.get("more")
    return [*lines, f"{file}: and {more} more"] if more else lines


def _print(done: _Imported, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(done).decode())
        return
    changes = [
        f"{number} {what}"
        for number, what in ((done.seats_added, "added"), (done.seats_removed, "removed"))
        if number
    ]
    seats = counted(done.seats, "seat") + (
        f", {', '.join(changes)}" if changes and done.outcome == "replaced" else ""
    )
    print(f"{done.file}: {done.outcome} event {done.event_id} ({seats})")
