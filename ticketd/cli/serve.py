"""``ticketd serve``: run the daemon until it is told to stop. How it runs is ``ticketd.cli.serving``'s."""

from __future__ import annotations

import argparse

from ticketd.cli.options import Commands, add_common_options, load_for
from ticketd.logs import set_up_logs
from ticketd.places import DEMO_FOLDER


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``serve`` to the command line."""
    parser = commands.add_parser(
        "serve",
        help="run the daemon",
        description="Runs the daemon until SIGTERM or SIGINT. It prints one line of where it listens once it is ready, "
        "and logs to standard error.",
    )
    add_common_options(parser)
    parser.add_argument("--bind", metavar="HOST:PORT", help="where to listen (default: server.bind)")
    parser.add_argument(
        "--demo",
        action="store_true",
        help=f"bring events and a key along, and show a tour (data folder: {DEMO_FOLDER})",
    )
    parser.set_defaults(run=run_serve)


def run_serve(arguments: argparse.Namespace) -> None:
    """Serves. Raises what keeps it from starting, or what a part of it failed with."""
    if arguments.demo and arguments.data is None:
        arguments.data = DEMO_FOLDER
    settings = load_for(arguments, {"server.bind": arguments.bind})
    set_up_logs(settings.log)
    # The other commands are spared loading the daemon, which takes a second.
    from ticketd.cli.serving import serve_daemon  # noqa: PLC0415

    serve_daemon(settings, demo=arguments.demo)
