"""What idle connections cost in memory: the daemon with thousands of them, each of which has asked once."""

from __future__ import annotations

import resource
import socket
from pathlib import Path
from typing import Final

from scripts.benchmarks.http.contenders import Contender
from scripts.benchmarks.http.cores import BenchmarkFailed, Cores, resident_bytes
from scripts.benchmarks.http.measure import fresh_folder

AIM_MB: Final = 150
_STORE: Final = ".lmdb"
_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: tickets.test\r\n\r\n"
_MB: Final = 1_000_000


def measure_idle(contender: Contender, connections: int, cores: Cores, folder: Path) -> str:
    """Markdown: resident memory with so many idle connections, without the pages of the store's file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with fresh_folder(folder) as place, contender.running(place, cores) as server:
        before = resident_bytes(server.pids[0], without=_STORE)
        sockets: list[socket.socket] = []
        try:
            for _ in range(connections):
                one = socket.create_connection((server.host, server.port), timeout=30)
                sockets.append(one)
                one.sendall(_REQUEST)
                if not one.recv(4096).startswith(b"HTTP/1.1 200"):
                    raise BenchmarkFailed(f"connection {len(sockets)} was not answered with 200")
            after = resident_bytes(server.pids[0], without=_STORE)
        finally:
            for one in sockets:
                one.close()
    met = "met" if after < AIM_MB * _MB else "missed"
    return (
        f"{contender.title}: {connections:,} idle connections, each of which has asked once: resident memory without "
        f"the store's pages {after / _MB:.0f} MB (aim: under {AIM_MB} MB, {met}), {before / _MB:.0f} MB before, "
        f"{(after - before) / connections / 1024:.1f} KiB each."
    )
