"""The long form of the attacks on a daemon: what each costs it, and what another client notices of it.

The other client is a process of its own that asks for an event on one connection, a hundred times a second. Memory and
descriptors are the kernel's figures for the daemon's process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from tests.support.hostile import (
    QUICK,
    SLOW,
    Attack,
    Target,
    open_descriptors,
    prepare_hall,
    resident_bytes,
)
from tests.support.listening import UNLIMITED, raise_open_files
from tests.support.process import DaemonProcess, serving

MIB: Final = 1024 * 1024
MOST_GROWTH_BYTES: Final = 20 * MIB
MOST_P99_MS: Final = 100.0
MOST_END_SECONDS: Final = 10.0
HASTY_SECONDS: Final = 5
PAUSE_SECONDS: Final = 0.01
_SETTINGS: Final = ("HEADER", "BODY", "IDLE", "SEND")


@dataclass
class Measured:
    """What the whole run has found, and the verdict on it."""

    daemon: DaemonProcess
    target: Target
    first_bytes: int
    faults: list[str] = field(default_factory=list)

    def attack(self, name: str, run: Callable[[], None]) -> None:
        """Runs one attack with another client beside it, and prints a line of the table."""
        before, began = resident_bytes(self.daemon), time.perf_counter()
        with neighbour(self.target) as waits:
            run()
        seconds = time.perf_counter() - began
        if self.daemon.process.poll() is not None:
            raise SystemExit(f"the daemon has ended during: {name}\n{self.daemon.log.read_text()[-2000:]}")
        self.report(name, seconds, (resident_bytes(self.daemon) - before) / MIB, sorted(waits))

    def report(self, name: str, seconds: float, grown: float, waits: list[float]) -> None:
        p50, p99 = (waits[int(len(waits) * part)] for part in (0.5, 0.99))
        print(
            f"{name:<32} {seconds:>7.1f} s {grown:>+7.1f} MiB {p50:>8.2f} {p99:>8.2f} {waits[-1]:>8.2f} ms "
            f"{len(waits):>7,}",
            flush=True,
        )
        if p99 > MOST_P99_MS:
            self.faults.append(f"{name}: the other client's p99 was {p99:.0f} ms")

    def judge_memory(self) -> None:
        grown = resident_bytes(self.daemon) - self.first_bytes
        print(f"memory over all: {grown / MIB:+.1f} MiB, descriptors open: {open_descriptors(self.daemon)}")
        if grown > MOST_GROWTH_BYTES:
            self.faults.append(f"memory grew by {grown / MIB:.1f} MiB")


@contextlib.contextmanager
def neighbour(target: Target) -> Iterator[list[float]]:
    """Another client beside the block; its waits, in milliseconds, are in the list once the block has ended."""
    command = [sys.executable, "-m", "scripts.hostile_clients", "--neighbour", f"{target.host}:{target.port}"]
    waits: list[float] = []
    process = subprocess.Popen(
        [*command, "--key", target.key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()  # It has had its first answer.
    try:
        yield waits
    finally:
        process.stdin.close()
        waits += json.loads(process.stdout.readline())
        process.stdout.close()
        process.wait()


def be_neighbour(target: Target) -> None:
    """Asks again and again until its input ends, then prints how long each answer took, in milliseconds."""
    waits: list[float] = []
    os.set_blocking(0, False)
    with socket.create_connection((target.host, target.port)) as sock:
        ask(sock, target.event)
        print("ready", flush=True)
        while True:
            began = time.perf_counter()
            ask(sock, target.event)
            waits.append(round((time.perf_counter() - began) * 1000, 3))
            time.sleep(PAUSE_SECONDS)  # the pace of this client
            with contextlib.suppress(BlockingIOError):
                if not os.read(0, 1):
                    break
    print(json.dumps(waits), flush=True)


def ask(sock: socket.socket, request: bytes) -> None:
    """One request and its whole answer."""
    sock.sendall(request)
    found = sock.recv(65_536)
    head, _, body = found.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"the other client was answered {head!r}")
    left = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
    while left:
        left -= len(sock.recv(left))


def all_slow(target: Target, count: int) -> None:
    """Every slow attack at once."""

    async def attack() -> None:
        async with trio.open_nursery() as nursery:
            for each in SLOW.values():
                nursery.start_soon(each, target, count)

    trio.run(attack)


def end_under_attack(measured: Measured, count: int) -> None:
    """Asks the daemon to end while slow clients of every kind are at it."""
    target, process = measured.target, measured.daemon.process

    async def attack() -> None:
        async with trio.open_nursery() as nursery:
            for each in SLOW.values():
                nursery.start_soon(forgiving(each), target, count)
            await trio.sleep(1)
            began = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            status = await trio.to_thread.run_sync(process.wait)
            seconds = time.perf_counter() - began
            print(f"asked to end under attack: ended after {seconds:.1f} s with {status}")
            if status or seconds > MOST_END_SECONDS:
                measured.faults.append(f"it ended after {seconds:.1f} s with {status}")
            nursery.cancel_scope.cancel()

    trio.run(attack)


def forgiving(attack: Attack) -> Attack:
    """An attack whose clients may be cut off in any way: the daemon ends."""

    async def run(target: Target, count: int) -> None:
        try:
            await attack(target, count)
        except* (AssertionError, OSError, trio.BrokenResourceError):
            pass

    return run


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--drops", type=int, default=50_000, help="connections opened and dropped")
    parser.add_argument("--slow", type=int, default=100, help="clients of each slow kind")
    parser.add_argument(
        "--seconds", type=int, default=HASTY_SECONDS, help="the daemon's limits for each phase"
    )
    parser.add_argument("--neighbour", help=argparse.SUPPRESS)
    parser.add_argument("--key", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Prints the table, and fails if the daemon did not bear it."""
    arguments = parse_arguments()
    if arguments.neighbour:
        host, _, port = arguments.neighbour.rpartition(":")
        be_neighbour(Target(host, int(port), arguments.key, 0))
        return
    raise_open_files()
    counts = {
        "opened and dropped": arguments.drops,
        "half closed": 5000,
        "large heads": 2000,
        "requests that kill": 2000,
    }
    limits = {f"TICKETD_SERVER_{name}_TIMEOUT_SECONDS": str(arguments.seconds) for name in _SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        key = prepare_hall(data)
        with serving(data, environ={**UNLIMITED, **limits}) as daemon:
            target = Target.of(daemon, key, arguments.seconds)
            with socket.create_connection((target.host, target.port)) as sock:
                ask(sock, target.seat_map)
            print(
                f"{'attack':<32} {'took':>9} {'memory':>11} {'p50':>8} {'p99':>8} {'most':>8}    {'asked':>7}"
            )
            measured = Measured(daemon, target, resident_bytes(daemon))
            # What is measured is that nothing happens, for as long as this.
            measured.attack("none, for comparison", lambda: time.sleep(5))
            for name, attack in QUICK.items():
                measured.attack(name, partial(trio.run, attack, target, counts[name]))
            for name, attack in SLOW.items():
                measured.attack(name, partial(trio.run, attack, target, arguments.slow))
            measured.attack("all slow ones at once", lambda: all_slow(target, arguments.slow))
            measured.judge_memory()
            end_under_attack(measured, arguments.slow)
    if measured.faults:
        raise SystemExit("\n".join(measured.faults))
    print("it bore all of it")


if __name__ == "__main__":
    main()
