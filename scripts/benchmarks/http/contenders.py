"""The contenders: how each is prepared once, and started on a fresh copy of the scene for each run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from scripts.benchmarks.http.cores import BenchmarkFailed, Cores, Server, free_port, pinned, wait_for_port
from scripts.benchmarks.http.peer_store import SECRET, make_postgres, make_sqlite, peer_scene
from scripts.benchmarks.http.postgres import copy_cluster, find_programs, running_cluster
from scripts.benchmarks.http.scene import SETTINGS, Scene

BENCH_PYTHON: Final = Path(".venv-bench/bin/python")
_HOST: Final = "127.0.0.1"


class Contender(Protocol):
    """Somebody who is measured. ``scene`` has the credentials that it takes; None: it answers anything."""

    name: str
    title: str

    @property
    def scene(self) -> Scene | None: ...

    def prepare(self, folder: Path, cores: Cores) -> None:
        """Makes in ``folder``, once, what each run begins with. Raises BenchmarkFailed if something is missing."""

    def running(self, folder: Path, cores: Cores) -> AbstractContextManager[Server]:
        """Runs over a copy of what was prepared, made in ``folder``."""


class Limit:
    """Bare Trio and httptools."""

    name = "limit"
    title = "bare Trio + httptools"
    scene = None

    def prepare(self, folder: Path, cores: Cores) -> None:
        pass

    @contextmanager
    def running(self, folder: Path, cores: Cores) -> Iterator[Server]:
        port, log = free_port(), folder / "limit.log"
        command = [sys.executable, "-m", "scripts.benchmarks.http.limit", str(port)]
        with pinned(command, cores.server, log) as process:
            wait_for_port(process, port, log)
            yield Server(_HOST, port, (process.pid,))


class Daemon:
    """The daemon, by one of its fronts (None: the one that it has by default), or on stock Hypercorn."""

    def __init__(self, name: str, title: str, scene: Scene, data: Path, front: str | None = None) -> None:
        self.name = name
        self.title = title
        self.scene: Scene | None = scene
        self._data = data
        self._front = front

    def prepare(self, folder: Path, cores: Cores) -> None:
        pass

    @contextmanager
    def running(self, folder: Path, cores: Cores) -> Iterator[Server]:
        data, config, log = folder / "data", folder / "ticketd.toml", folder / "daemon.log"
        shutil.copytree(self._data, data)
        front = f'\n[server]\nfront = "{self._front}"\n' if self._front else "\n[server]\n"
        config.write_text(SETTINGS.replace("\n[server]\n", front))
        port = free_port()
        with pinned(self._command(data, config, port), cores.server, log) as process:
            wait_for_port(process, port, log)
            yield Server(_HOST, port, (process.pid,))

    def _command(self, data: Path, config: Path, port: int) -> list[str]:
        arguments = ["--config", str(config), "--data", str(data), "--bind", f"{_HOST}:{port}"]
        return [sys.executable, "-m", "ticketd", "serve", *arguments]


class Stock(Daemon):
    """The daemon's app on stock Hypercorn."""

    def _command(self, data: Path, config: Path, port: int) -> list[str]:
        return [sys.executable, "-m", "scripts.benchmarks.http.stock", str(data), str(config), str(port)]


class Peer:
    """FastAPI on uvicorn over SQLite."""

    name = "sqlite"
    title = "FastAPI + uvicorn, SQLite"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.scene: Scene | None = peer_scene(scene)
        self._prepared = Path()

    def prepare(self, folder: Path, cores: Cores) -> None:
        if not BENCH_PYTHON.exists():
            raise BenchmarkFailed(
                "the peers' environment is missing: run scripts/bench http, which makes .venv-bench"
            )
        self._prepared = folder / "peer.sqlite"
        make_sqlite(self._prepared, self._scene)

    @contextmanager
    def running(self, folder: Path, cores: Cores) -> Iterator[Server]:
        file = folder / "peer.sqlite"
        shutil.copy(self._prepared, file)
        with self._serving(f"sqlite:{file}", folder, cores) as server:
            yield server

    @contextmanager
    def _serving(self, store: str, folder: Path, cores: Cores, *further: int) -> Iterator[Server]:
        port, log = free_port(), folder / "uvicorn.log"
        command = [
            *(str(BENCH_PYTHON), "-m", "uvicorn", "scripts.benchmarks.peers.app:app"),
            *("--host", _HOST, "--port", str(port), "--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        ]
        environ = {"PEERS_STORE": store, "PEERS_SECRET": SECRET}
        with pinned(command, cores.server, log, environ) as process:
            wait_for_port(process, port, log)
            yield Server(_HOST, port, (process.pid, *further))


class PostgresPeer(Peer):
    """FastAPI on uvicorn over PostgreSQL, whose processes share the core and are counted too."""

    name = "postgres"
    title = "FastAPI + uvicorn, PostgreSQL"

    def prepare(self, folder: Path, cores: Cores) -> None:
        find_programs()
        self._prepared = folder / "cluster"
        make_postgres(self._prepared, self._scene, cores.load, folder / "postgres.log")

    @contextmanager
    def running(self, folder: Path, cores: Cores) -> Iterator[Server]:
        cluster, log = folder / "cluster", folder / "postgres.log"
        copy_cluster(self._prepared, cluster)
        with (
            running_cluster(cluster, cores.server, log) as (dsn, pid),
            self._serving(dsn, folder, cores, pid) as server,
        ):
            yield server


NAMES: Final = ("limit", "ticketd", "hypercorn", "stock", "sqlite", "postgres")


def make_contenders(scene: Scene, data: Path, names: tuple[str, ...] = NAMES) -> list[Contender]:
    """The contenders of these names, in the order of ``NAMES``."""
    found: tuple[Contender, ...] = (
        Limit(),
        Daemon("ticketd", "ticketd", scene, data),
        Daemon("hypercorn", 'ticketd, front = "hypercorn"', scene, data, "hypercorn"),
        Stock("stock", "ticketd's app, stock Hypercorn", scene, data),
        Peer(scene),
        PostgresPeer(scene),
    )
    return [contender for contender in found if contender.name in names]
