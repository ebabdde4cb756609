"""``ticketd token``: a user token for a buyer, for support and tests."""

from __future__ import annotations

import argparse
from uuid import UUID

import msgspec

from ticketd.cli.backend import call
from ticketd.cli.options import Commands, add_common_options, load_for
from ticketd.cli.reach import open_backend


class _Session(msgspec.Struct, frozen=True):
    token: str


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``token`` to the command line."""
    parser = commands.add_parser(
        "token",
        help="print a user token",
        description="Prints a user token alone: whoever has it acts for that buyer.",
    )
    parser.add_argument("--user", metavar="UUID", type=_uuid, required=True, help="the buyer's id")
    parser.add_argument(
        "--ttl", metavar="SECONDS", type=int, default=3600, help="60 to 86400 (default: 3600)"
    )
    add_common_options(parser)
    parser.set_defaults(run=run_token)


def run_token(arguments: argparse.Namespace) -> None:
    """Prints the token, and nothing else."""
    with open_backend(load_for(arguments), create=True) as backend:
        body = {"user_id": arguments.user, "ttl_seconds": arguments.ttl}
        print(msgspec.json.decode(call(backend, "POST", "/v1/operator/tokens", body), type=_Session).token)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a UUID") from None
