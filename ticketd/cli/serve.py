"""``ticketd serve``: run the daemon until it is told to stop."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from config import Settings
from ticketd.cli.options import Commands, add_common_options, load_for
from ticketd.demo.demo import DEMO_DATA, stock_demo, told
from ticketd.logs import set_up_logs
from ticketd.tree import Running, run_daemon

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.serve")

_NO_REAL_MONEY: Final = "payments.gateway is 'sandbox': no real money moves"
_ANYBODY: Final = "auth.user_tokens is 'optional': anybody with a public key may act for any buyer"


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``serve`` to the command line."""
    parser = commands.add_parser(
        "serve", help="run the daemon", description="Runs the daemon until SIGTERM or SIGINT."
    )
    add_common_options(parser)
    parser.add_argument("--bind", metavar="HOST:PORT", help="where to listen (default: server.bind)")
    parser.add_argument(
        "--demo",
        action="store_true",
        help=f"bring events and a key along, and show a tour (data: {DEMO_DATA})",
    )
    parser.set_defaults(run=run_serve)


def run_serve(arguments: argparse.Namespace) -> None:
    """Serves. Raises what keeps it from starting, or what a part of it failed with."""
    flags = {"server.bind": arguments.bind}
    if arguments.demo and arguments.data is None:
        arguments.data = DEMO_DATA
    settings = load_for(arguments, flags)
    set_up_logs(settings.log)
    _say_loudly(settings)
    trio.run(partial(_serve, settings, demo=arguments.demo))


async def _serve(settings: Settings, *, demo: bool) -> None:
    def announce(running: Running) -> None:
        print(f"ticketd listens on {running.public_url} (operator: {running.operator})", flush=True)

    async def stock(running: Running) -> None:
        print(f"\n{told(await stock_demo(running))}\n", flush=True)

    await run_daemon(settings, Path(settings.storage.data), announce, stock if demo else None)


def _say_loudly(settings: Settings) -> None:
    if settings.payments.gateway == "sandbox":
        _log.warning(_NO_REAL_MONEY)
    if settings.auth.user_tokens == "optional":
        _log.warning(_ANYBODY)
