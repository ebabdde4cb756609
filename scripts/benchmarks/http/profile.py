"""Where the daemon's CPU time goes under the load of one call: py-spy's samples, by function.

Counted are samples of a thread that holds the interpreter's lock: waiting for the disk is none, and neither is what
compression and the store do outside of it.

py-spy reads another process's memory: as root, or where ``kernel.yama.ptrace_scope`` is 0.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks.http.calls import RELEASE, RESERVE, Calls, Workload
from scripts.benchmarks.http.contenders import Contender
from scripts.benchmarks.http.cores import BenchmarkFailed, Cores
from scripts.benchmarks.http.measure import fresh_folder, prepare_load
from scripts.benchmarks.http.wrk import RunningWrk, run_wrk

PY_SPY: Final = Path(".venv-bench/bin/py-spy")
_RATE: Final = 250
_SHOWN: Final = 25
_EVERYWHERE: Final = 0.97
"""What is in more than this part of all stacks tells nothing: the start of the process, the event loop."""
_GRACE_SECONDS: Final = 60


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """The part of all samples in which each function ran itself (``own``), or something that it called (``total``)."""

    samples: int
    own: dict[str, float]
    total: dict[str, float]


def profile(  # noqa: PLR0913, PLR0917  # who, what, where and how long
    contender: Contender, workload: Workload, seconds: int, prepared: int, cores: Cores, folder: Path
) -> str:
    """Markdown: the functions that take the most of the CPU time. Raises BenchmarkFailed if py-spy cannot look."""
    assert contender.scene is not None
    with fresh_folder(folder) as place, contender.running(place, cores) as server:
        calls = Calls(contender.scene, prepared)
        connections = workload.connections[-1]
        if workload is RELEASE:
            run_wrk(prepare_load(calls, RESERVE, server, place, connections, seconds), server, cores)
        load = prepare_load(calls, workload, server, place, connections, seconds)
        stacks = place / "stacks"
        running = RunningWrk(load, server, cores)
        _record(server.pids[0], max(load.seconds - 1, 1), stacks, cores)
        faults = running.wait().faults()
        shares = count_shares(stacks.read_text().splitlines())
    if faults:
        raise BenchmarkFailed(f"{workload.name}: {'; '.join(faults)}")
    return _table(workload, shares)


def count_shares(stacks: Iterable[str]) -> Shares:
    """The shares out of py-spy's raw form: a line is a stack, outermost first, with ``;`` between, and its samples."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    samples = 0
    for line in stacks:
        stack, _, count_text = line.rpartition(" ")
        count = int(count_text)
        frames = [_function(frame) for frame in stack.split(";")]
        samples += count
        own[frames[-1]] += count
        for frame in set(frames):
            total[frame] += count
    whole = max(samples, 1)
    return Shares(
        samples=samples,
        own={name: count / whole for name, count in own.most_common()},
        total={name: count / whole for name, count in total.most_common()},
    )


def _function(frame: str) -> str:
    """``name (file:line)`` without the line: a function is one entry, wherever in it the sample fell."""
    name, _, rest = frame.partition(" (")
    file = rest.rstrip(")").rpartition(":")[0] or rest.rstrip(")")
    return f"{name} ({file})" if file else name


def _record(pid: int, seconds: int, output: Path, cores: Cores) -> None:
    if not PY_SPY.exists():
        raise BenchmarkFailed("py-spy is missing: run scripts/bench http, which makes .venv-bench")
    command = [
        *(
            "taskset",
            "--cpu-list",
            str(cores.load),
            str(PY_SPY),
            "record",
            "--pid",
            str(pid),
            "--format",
            "raw",
        ),
        *("--duration", str(seconds), "--rate", str(_RATE), "--gil", "--output", str(output)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + _GRACE_SECONDS
    )
    if done.returncode or not output.exists():
        raise BenchmarkFailed(
            f"py-spy could not look at the daemon (it needs root, or ptrace):\n{done.stderr}"
        )


def _table(workload: Workload, shares: Shares) -> str:
    lines = [
        f"{workload.title}, {workload.connections[-1]} connections, {shares.samples:,} samples",
        "",
        "| of all samples, by itself | function | with what it calls | function |",
        "|---|---|---|---|",
    ]
    own = list(shares.own.items())[:_SHOWN]
    total = [(name, share) for name, share in shares.total.items() if share < _EVERYWHERE][:_SHOWN]
    lines += [
        f"| {own_share:.1%} | `{own_name}` | {total_share:.1%} | `{total_name}` |"
        for (own_name, own_share), (total_name, total_share) in zip(own, total, strict=False)
    ]
    return "\n".join(lines)
