"""What happens around a daemon: its disk is full, read-only or gone, and the system gives it no files or no memory.

Each is real: a small file system is mounted, bounds of the process are set. Where that is not allowed (it takes root)
the reason is told. What is judged is the same as when one system call fails.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import trio

from storage.free_space import free_bytes
from tests.ladder.sale.stage import ENVIRON
from tests.ladder.system_calls.injected import check_end, live_and_end, start_again
from tests.ladder.system_calls.scripted import ScriptedSale
from tests.support.process import STOP_SECONDS, NotStarted, serving

MIB: Final = 1024 * 1024
_DISK_MIB: Final = 16
_FILES: Final = 48
_TOO_LITTLE_MEMORY: Final = 200 * MIB
"""Less than the map of the store."""
_SPARE_MEMORY: Final = 48 * MIB
_CROWD: Final = 96
_CRASHES: Final = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS})
"""How a process may end, without a word, whose system gives it no memory: in a library that is not told of it."""


class NotAllowed(Exception):
    """It cannot be done here; the text is for whoever runs the tests."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 16 MiB. Raises NotAllowed."""
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m,mode=700", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False, text=True)
    except OSError as error:
        raise NotAllowed(f"no file system can be mounted here: {error}") from error
    if mounted.returncode:
        raise NotAllowed(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def full_disk(folder: Path) -> list[str]:
    """Nothing is left of the disk in the middle of the sale, and again something when the next daemon is started."""
    with small_disk(folder / "disk") as disk:
        sale = ScriptedSale(disk)
        filler = disk / "filler"

        def fill() -> None:
            filler.write_bytes(bytes(free_bytes(disk)))

        problems = _in_the_middle(sale, fill)
        filler.unlink()
        return [*problems, *start_again(sale)]


def read_only_disk(folder: Path) -> list[str]:
    """The disk can only be read when the daemon is started."""
    with small_disk(folder / "disk") as disk:
        sale = ScriptedSale(disk)
        remount = ["mount", "-o", "remount,ro", str(disk)]
        if subprocess.run(remount, capture_output=True, check=False).returncode:
            raise NotAllowed("a file system cannot be made read-only here")
        problems = ["started on a disk that cannot be written"]
        try:
            with sale.stage.serving():
                pass
        except NotStarted as failure:
            problems = check_end(failure.status, folder / "disk.log")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        return [*problems, *start_again(sale)]


def removed_folder(folder: Path) -> list[str]:
    """Somebody removes the folder. Nothing may be answered as done that is then done nowhere."""
    folder.mkdir(parents=True)
    sale = ScriptedSale(folder / "data")
    kept = folder / "kept"

    def remove() -> None:
        shutil.copytree(sale.stage.data, kept, ignore=shutil.ignore_patterns("operator.sock"))
        shutil.rmtree(sale.stage.data)

    problems = _in_the_middle(sale, remove)
    shutil.copytree(kept, sale.stage.data)
    return [*problems, *start_again(sale)]


def unmounted_disk(folder: Path) -> list[str]:
    """The disk is taken away under the daemon."""
    with small_disk(folder / "disk") as disk:
        sale = ScriptedSale(disk)
        kept = folder / "kept"

        def take_away() -> None:
            shutil.copytree(sale.stage.data, kept, ignore=shutil.ignore_patterns("operator.sock"))
            subprocess.run(["umount", "-l", str(disk)], check=True)

        problems = _in_the_middle(sale, take_away)
        shutil.copytree(kept, disk, dirs_exist_ok=True)
        return [*problems, *start_again(sale)]


def full_log(folder: Path) -> list[str]:
    """What the daemon says goes to a disk that is full. A sale does not end for that."""
    folder.mkdir(parents=True)
    sale = ScriptedSale(folder / "data")
    problems: list[str] = []
    with sale.stage.serving(prefix=("sh", "-c", 'exec "$@" 2>/dev/full', "sh")) as daemon:
        if not sale.play(daemon.url) or sale.refused:
            problems.append("does not go on when it cannot write its log")
        if daemon.process.poll() is None and (status := daemon.stop()):
            problems.append(f"ended with status {status}")
    return [*problems, *start_again(sale)]


def few_files(folder: Path) -> list[str]:
    """The process may have few files open, and more clients come than it can take."""
    folder.mkdir(parents=True)
    sale = ScriptedSale(folder / "data")
    problems: list[str] = []
    with serving(
        sale.stage.data, environ=ENVIRON, prefix=("prlimit", f"--nofile={_FILES}:{_FILES}")
    ) as daemon:
        url = httpx.URL(daemon.url)
        crowd: list[socket.socket] = []
        for _ in range(_CROWD):
            with suppress(OSError):
                crowd.append(socket.create_connection((url.host, url.port or 80), timeout=2))
        for one in crowd:
            one.close()
        # Those who left make room again.
        if not sale.play(daemon.url) or sale.refused:
            problems.append(
                "does not answer any more, after more clients than it could take had come and gone"
            )
        status = daemon.stop() if daemon.process.poll() is None else daemon.process.returncode
        if status:
            problems += check_end(status, daemon.log) or [f"ended with status {status}"]
    return [*problems, *start_again(sale)]


def little_memory(folder: Path) -> list[str]:
    """There is too little memory to start, and then just enough, and a crowd that wants more of it."""
    folder.mkdir(parents=True)
    sale = ScriptedSale(folder / "data")
    prefix = ("prlimit", f"--as={_TOO_LITTLE_MEMORY}")
    problems: list[str] = []
    try:
        with serving(sale.stage.data, environ=ENVIRON, prefix=prefix):
            problems.append("started with less memory than the map of its store takes")
    except NotStarted as failure:
        problems += check_end(failure.status, folder / "data.log")
    (folder / "data.log").unlink()
    with serving(sale.stage.data, environ=ENVIRON) as daemon:
        size = int(Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[0]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
        bound = size + _SPARE_MEMORY
        resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (bound, bound))
        trio.run(_crowd_of_uploads, httpx.URL(daemon.url))
        whole = daemon.process.poll() is None and sale.play(daemon.url) and not sale.refused
        if whole:
            status = daemon.stop()
            problems += [] if status == 0 else check_end(status, daemon.log)
        elif daemon.process.wait(STOP_SECONDS) not in _CRASHES:
            problems += check_end(daemon.process.returncode, daemon.log)
    return [*problems, *start_again(sale)]


async def _crowd_of_uploads(url: httpx.URL) -> None:
    """Many who send much and then nothing more, and are gone a moment later."""
    data = b"POST /v1/queue/join HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n" + b" " * 64_000

    async def upload() -> None:
        with suppress(OSError, trio.BrokenResourceError):
            stream = await trio.open_tcp_stream(url.host, url.port or 80)
            async with stream:
                await stream.send_all(data)
                with trio.move_on_after(0.5):
                    await stream.receive_some(1)

    async with trio.open_nursery() as nursery:
        for _ in range(5 * _CROWD):
            nursery.start_soon(upload)


def _in_the_middle(sale: ScriptedSale, happen: Callable[[], None]) -> list[str]:
    """Something happens when a part of the script is played."""
    sale.interlude = happen
    return live_and_end(sale, ())


SURROUNDINGS: Final[dict[str, Callable[[Path], list[str]]]] = {
    "full disk": full_disk,
    "read-only disk": read_only_disk,
    "removed folder": removed_folder,
    "unmounted disk": unmounted_disk,
    "full log": full_log,
    "few files": few_files,
    "little memory": little_memory,
}
