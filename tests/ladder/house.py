"""A real daemon with an event on sale, the keys to it, and what can be seen of its process from outside.

The rungs that speak to it over sockets stand on this. What they say to it does not belong here.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import lmdb
import msgspec

from storage.data_folder import STORE_FILE
from tests.support.events import arena_file
from tests.support.process import DaemonProcess, serving
from ticketd.front import BoundAddress, ListenerName
from ticketd.places import SOCKET_FILE

FREE_OF_LIMITS: Final = {
    "TICKETD_RATE_LIMITS_ENABLED": "false",
    "TICKETD_HOARDING_MAX_ENTRIES_PER_ADDRESS": "0",
    "TICKETD_HOARDING_LAPSED_HOLDS": "0",
    "TICKETD_HOARDING_LAPSED_HOLDS_PER_ADDRESS": "0",
    "TICKETD_LOG_LEVEL": "warning",
    "TICKETD_LOG_FORMAT": "json",
}
"""The environment of a daemon that takes all that one address asks, and whose log has nothing but trouble."""
MOST_ERRORS_TOLD: Final = 3
REST_SECONDS: Final = 10.0
"""For the last clients to be given up."""
_GRAVE: Final = re.compile(r'"level": "(error|critical)"|Traceback')
ROWS: Final = 40
SEATS_A_ROW: Final = 50


class Vitals(msgspec.Struct, frozen=True):
    """What a process takes up now: memory that is its own, descriptors, tasks of its event loop, slots of LMDB's table
    of readers, the store's file and the part of it that is free, the processor time it has used."""

    own_memory_bytes: int
    descriptors: int
    tasks: int
    reader_slots: int
    file_bytes: int
    free_bytes: int
    websockets: int
    commands: int
    processor_seconds: float


@dataclass
class House:
    """A daemon that runs, and how to get in. ``key`` is a storefront's."""

    daemon: DaemonProcess
    data: Path
    operator: httpx.Client
    key: str
    event_id: str

    @property
    def address(self) -> BoundAddress:
        """Where the public door is."""
        url = httpx.URL(self.daemon.url)
        return BoundAddress(name=ListenerName.PUBLIC, host=url.host, port=url.port)

    def vitals(self) -> Vitals:
        """What the process takes up now. Its own memory is what no file stands behind: pages of the store come and go
        as the system likes."""
        metrics = self._metrics()
        file_bytes = (self.data / STORE_FILE).stat().st_blocks * 512
        return Vitals(
            own_memory_bytes=_own_memory_bytes(self.daemon.process.pid),
            descriptors=int(metrics["process_open_fds"]),
            tasks=int(metrics["ticketd_tasks"]),
            reader_slots=self._reader_slots(),
            file_bytes=file_bytes,
            free_bytes=file_bytes - int(metrics["ticketd_store_used_bytes"]),
            websockets=int(metrics["ticketd_realtime_connections"]),
            commands=int(metrics["ticketd_store_commands_committed"]),
            processor_seconds=_processor_seconds(self.daemon.process.pid),
        )

    def rest(self) -> Vitals:
        """What the process takes up once nobody is there any more, and nothing moves.

        Waits for it up to ``REST_SECONDS``, and looks nevertheless.
        """
        end = time.monotonic() + REST_SECONDS
        before = self.vitals()
        while time.monotonic() < end:
            time.sleep(0.05)
            now = self.vitals()
            moves = (now.tasks, now.descriptors, now.commands) != (
                before.tasks,
                before.descriptors,
                before.commands,
            )
            if not moves and not now.websockets:
                return now
            before = now
        return before

    def end(self) -> list[str]:
        """Asks the daemon to end: what is wrong about how it did, and what its log has of errors."""
        wrong = []
        if (code := self.daemon.process.poll()) is not None:
            wrong.append(f"the daemon was gone, with status {code}")
        elif (code := self.daemon.stop()) != 0:
            wrong.append(f"asked to end, the daemon ended with status {code}")
        log = self.daemon.log.read_text().splitlines()
        errors = [line for line in log if _GRAVE.search(line)]
        return wrong + [f"the log says: {line[:2000]}" for line in errors[:MOST_ERRORS_TOLD]]

    def _metrics(self) -> dict[str, float]:
        text = self.operator.get("/metrics").raise_for_status().text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def _reader_slots(self) -> int:
        """Of the daemon alone, read as another process that has the store open."""
        with lmdb.open(str(self.data / STORE_FILE), subdir=False, readonly=True, create=False) as env:
            lines = str(env.readers()).splitlines()
        return sum(line.split()[0] == str(self.daemon.process.pid) for line in lines)


def _own_memory_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon":
            return int(value.split()[0]) * 1024
    raise AssertionError("the system tells no RssAnon")


def _processor_seconds(pid: int) -> float:
    # The second field is the name in brackets, which may hold spaces; the 14th and 15th are the times.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def open_house(folder: Path, environ: Mapping[str, str], **changes: Any) -> Iterator[House]:
    """Starts a daemon in ``folder`` with one event of 2,000 seats; ``changes`` are those of its file."""
    data = folder / "data"
    with serving(data, environ=environ) as daemon:
        transport = httpx.HTTPTransport(uds=str(data / SOCKET_FILE))
        with httpx.Client(transport=transport, base_url="http://operator", timeout=30) as operator:
            rows = [{"row": f"R{row}", "first": 1, "last": SEATS_A_ROW} for row in range(1, ROWS + 1)]
            event_id = "0f0e0d0c-0b0a-4009-8807-060504030202"
            plan = arena_file(rows=rows, **changes)
            put = operator.put(
                f"/v1/operator/events/{event_id}",
                content=json.dumps({**plan, "event_id": event_id}),
                headers={"content-type": "application/json"},
            )
            assert put.is_success, put.text
            made = operator.post("/v1/operator/keys", json={"scope": "storefront"})
            assert made.is_success, made.text
            yield House(daemon, data, operator, made.json()["key"], event_id)
