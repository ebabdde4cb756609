"""The daemon's own Quart-Trio app on stock Hypercorn: ``python -m scripts.benchmarks.http.stock DATA CONFIG PORT``.

Store, tasks and app are the daemon's; only the public door is ``hypercorn.trio.serve`` with its defaults, without any
of the front's care for connections. Not a way to serve anything real.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import hypercorn.trio
import trio
from hypercorn.config import Config

from config.load import load_settings
from handlers.call import ListenerKind
from handlers.quart_app import build_app
from handlers.router import Router
from handlers.routes import ENDPOINTS
from handlers.serve import Server
from ticketd.cli.descriptors import raise_descriptor_limit
from ticketd.logs import set_up_logs
from ticketd.tree import Running, run_daemon


async def _serve(data: Path, config_file: Path, port: int) -> None:
    settings = load_settings(config_file, {}, {"server.bind": "127.0.0.1:0"}).settings
    set_up_logs(settings.log)
    raise_descriptor_limit(settings.server.max_connections)

    async def serve_stock(running: Running) -> None:
        server = Server(running.services, Router(ENDPOINTS))
        app = build_app(server, ENDPOINTS, ListenerKind.PUBLIC, settings.server.max_body_bytes)
        config = Config()
        config.bind = [f"127.0.0.1:{port}"]
        config.accesslog = None
        await hypercorn.trio.serve(app, config, shutdown_trigger=trio.sleep_forever)

    await run_daemon(settings, data, lambda _: None, serve_stock)


def main() -> None:
    """Serves until it is killed."""
    data, config_file, port = sys.argv[1:]
    trio.run(partial(_serve, Path(data), Path(config_file), int(port)))


if __name__ == "__main__":
    main()
