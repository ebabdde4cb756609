"""The daemon as ``ticketd serve`` runs it: what is said aloud at the start, and what is told if it cannot start."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from config import Settings
from storage.data_folder import exposures
from ticketd.cli.descriptors import raise_descriptor_limit
from ticketd.cli.failures import Failures, told_plainly
from ticketd.credentials.key_files import CredentialFileError
from ticketd.demo.demo import stock_demo, told
from ticketd.front import CertificateError, LifespanError, ListenError
from ticketd.tree import Running, run_daemon

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.serve")

_NO_REAL_MONEY: Final = "payments.gateway is 'sandbox': no real money moves"
_ANYBODY: Final = "auth.user_tokens is 'optional': anybody with a public key may act for any buyer"

_EXPECTED: Final[Failures] = (CertificateError, CredentialFileError, LifespanError, ListenError)


def serve_daemon(settings: Settings, *, demo: bool) -> None:
    """Serves until a signal; a failure ends the process with status 1 and a sentence."""
    if settings.payments.gateway == "sandbox":
        _log.warning(_NO_REAL_MONEY)
    if settings.auth.user_tokens == "optional":
        _log.warning(_ANYBODY)
    for sentence in exposures(Path(settings.storage.data)):
        _log.warning(sentence)
    raise_descriptor_limit(settings.server.max_connections)
    with told_plainly(_EXPECTED):
        trio.run(partial(_serve, settings, demo=demo))


async def _serve(settings: Settings, *, demo: bool) -> None:
    def announce(running: Running) -> None:
        print(f"ticketd listens on {running.public_url} (operator: {running.operator})", flush=True)

    async def stock(running: Running) -> None:
        print(f"\n{told(await stock_demo(running))}\n", flush=True)

    await run_daemon(settings, Path(settings.storage.data), announce, stock if demo else None)
