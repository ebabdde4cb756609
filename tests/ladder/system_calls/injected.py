"""One system call of the daemon's fails: what it did then, and what was there after it was started again.

The process must be whole or gone: it answers to the end of the script as if nothing had been, or it ends, with a status
other than 0 and one sentence. What it answered before holds for the next daemon on the same folder.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from storage.data_folder import STORE_FILE
from tests.ladder.sale.strace import traced
from tests.ladder.system_calls.scripted import ScriptedSale, Strange
from tests.support.process import STOP_SECONDS, DaemonProcess, NotStarted

CALLS: Final = ("pwrite64", "writev", "pwritev", "fdatasync", "fsync", "ftruncate", "write")
FAULTS: Final = ("EIO", "ENOSPC", "EROFS", "SIGKILL")
_KILLED: Final = -9
_DELAY_MICROSECONDS: Final = 50_000


class Fault(msgspec.Struct, frozen=True):
    """The ``at``-th ``call`` on the files of ``target`` fails by ``error``; with ``lasting``, all later ones, too."""

    call: str
    at: int
    error: str
    lasting: bool = False
    target: str = STORE_FILE

    def told(self) -> str:
        return f"{self.call} {self.at}{'+' if self.lasting else ''} of {self.target}: {self.error}"

    def options(self, data: Path) -> list[str]:
        """For strace."""
        how = "signal=SIGKILL" if self.error == "SIGKILL" else f"error={self.error}"
        when = f"when={self.at}{'+' if self.lasting else ''}"
        # What is answered too early has time to get out.
        inject = f"inject={self.call}:delay_enter={_DELAY_MICROSECONDS}:{how}:{when}"
        return ["-P", str(data / self.target), "-e", inject]


def count_calls(folder: Path, target: str = STORE_FILE) -> Counter[str]:
    """How often a run without faults makes each call on the target. Raises Strange if it does not go as it should."""
    folder.mkdir(parents=True)
    sale, trace = ScriptedSale(folder / "data"), folder / "trace"
    prefix = traced(",".join(CALLS), str(trace), "-P", str(folder / "data" / target))
    with sale.stage.serving(prefix=prefix) as daemon:
        if not sale.play(daemon.url):
            raise Strange(f"a call is not answered: {daemon.log.read_text()[-2000:]}")
        daemon.stop()
    if problems := sale.problems():
        raise Strange("; ".join(problems))
    counts: Counter[str] = Counter()
    for line in trace.read_text().splitlines():
        name = line.split(None, 1)[1].partition("(")[0]
        if name in CALLS:
            counts[name] += 1
    return counts


def play_with(fault: Fault, folder: Path) -> list[str]:
    """Plays the sale with the fault in it; what is wrong, a sentence each."""
    folder.mkdir(parents=True)
    sale = ScriptedSale(folder / "data")
    prefix = traced(fault.call, str(folder / "trace"), *fault.options(sale.stage.data))
    found = live_and_end(sale, prefix)
    return [*found, *start_again(sale)]


def live_and_end(sale: ScriptedSale, prefix: Sequence[str]) -> list[str]:
    """One life of the daemon, begun by ``prefix``: whole, or gone as it should be."""
    log = sale.stage.data.parent / f"{sale.stage.data.name}.log"
    try:
        with sale.stage.serving(prefix=prefix) as daemon:
            whole = sale.play(daemon.url)
            if whole and not sale.refused:
                status = daemon.stop()
                # The last thing that it writes may be what fails.
                return [] if status in {0, _KILLED} else check_end(status, log)
            return _await_end(daemon)
    except NotStarted as failure:
        return check_end(failure.status, log)


def _await_end(daemon: DaemonProcess) -> list[str]:
    """What is wrong with a daemon that gave no answer: it has to end, soon and as it should."""
    try:
        status = daemon.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return [f"half dead: a call was not answered, and the process is there {STOP_SECONDS} s later"]
    return check_end(status, daemon.log)


def check_end(status: int, log: Path) -> list[str]:
    """What is wrong with how a daemon ended. One that was killed says nothing."""
    if status == _KILLED:
        return []
    lines = log.read_text().splitlines()
    said = [line for line in lines if line.startswith("ticketd: ")]
    problems = []
    if status != 1:
        problems.append(f"ended with status {status}")
    if len(said) != 1:
        problems.append(f"said {len(said)} sentences as it ended: {said} {lines[-3:]}")
    elif "internal error" in said[0]:
        problems.append(f"called it an internal error: {said[0]}")
    if any("Traceback" in line for line in lines):
        problems.append("showed a traceback")
    return problems


def start_again(sale: ScriptedSale) -> list[str]:
    """The next daemon on the folder: everything that was told still holds."""
    with sale.stage.serving() as daemon:
        if not sale.come_back(daemon.url):
            return [f"the next daemon does not answer: {daemon.log.read_text()[-2000:]}"]
        status = daemon.stop()
    problems = [] if status == 0 else [f"the next daemon ended with status {status}"]
    return [*problems, *sale.problems()]
