"""The real daemon as a process of its own: started by the test that needs it, and ended by its id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30
STOP_SECONDS: Final = 15

_LISTENS: Final = re.compile(r"listens on (?P<url>https?://\S+)")


def ticketd(
    data: Path, *arguments: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs one command of the command line on a data folder to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ticketd", *arguments, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environ or {})},
    )


class NotStarted(AssertionError):
    """A daemon ended before it listened, with this status."""

    def __init__(self, told: str, status: int) -> None:
        super().__init__(told)
        self.status = status


@dataclass
class DaemonProcess:
    """A daemon that listens at ``url``."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    further: list[str] = field(default_factory=list)

    def kill(self) -> None:
        """Ends it as a power cut would end its process: at once, with nothing tidied."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def wait_for_log(self, text: str) -> None:
        """Waits until the log has ``text`` in it."""
        deadline = time.monotonic() + STOP_SECONDS
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, f"the log never said {text!r}"
            time.sleep(0.01)

    def stop(self) -> int:
        """Asks it to end, and answers its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def serve_command(data: Path) -> list[str]:
    """The command that serves a data folder on a free port."""
    return [sys.executable, "-m", "ticketd", "serve", "--data", str(data), "--bind", "127.0.0.1:0"]


@contextmanager
def serving(
    data: Path, *arguments: str, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Iterator[DaemonProcess]:
    """Starts ``ticketd serve`` on a free port and waits for the line that says where it listens.

    ``prefix`` is a command that begins it and becomes it, such as ``strace -D``.
    """
    log = data.parent / f"{data.name}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*prefix, *serve_command(data), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environ or {})},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = _LISTENS.search(line)
        if found is None:
            status = process.wait(STOP_SECONDS)
            raise NotStarted(f"the daemon did not start: {line}{log.read_text()}", status)
        yield DaemonProcess(process, found["url"], log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(STOP_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
