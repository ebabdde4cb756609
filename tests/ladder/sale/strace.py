"""strace, where there is one that may be used: how it is asked for, and why a rung that needs it cannot be climbed."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

MISSING: Final = (
    "needs strace, and leave to trace a process: install it (on Debian and Ubuntu: apt-get install strace), and run "
    "outside of a container that forbids ptrace"
)


@functools.cache
def why_not() -> str | None:
    """Why strace cannot be used here; None if it can."""
    strace = shutil.which("strace")
    if strace is None:
        return MISSING
    tried = subprocess.run(
        [*traced("none", "/dev/null"), "true"], capture_output=True, check=False, timeout=30
    )
    return None if tried.returncode == 0 else MISSING


def traced(calls: str, output: str, *options: str) -> Sequence[str]:
    """The command that begins another one, traced with all its threads; ``-D``: it keeps the process id."""
    return ("strace", "-D", "-f", "-qq", "-o", output, "-e", f"trace={calls}", *options)
