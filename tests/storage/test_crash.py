"""What is acknowledged survives: processes that are killed in the middle of commits, and disks that fail them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from storage.change_log import read_changes, read_version
from storage.engine import Key
from storage.keys import pack_key
from storage.lmdb_engine import open_lmdb
from tests.storage.crash_writer import CODEC, HALL, MAP_BYTES, TOTAL

TASKS = 8
COMMAND = [sys.executable, "-m", "tests.storage.crash_writer"]


def acknowledged(lines: list[str]) -> dict[int, int]:
    """The highest number that each task was told to be committed; a line that was cut off was not told."""
    highest: dict[int, int] = {}
    for line in lines:
        if line.endswith("\n") and line[0].isdigit():
            task, number = map(int, line.split())
            highest[task] = number
    return highest


def check_store(path: Path, told: dict[int, int]) -> None:
    """Everything that was acknowledged is there, and whatever is there is whole."""
    backend = open_lmdb(path, MAP_BYTES)
    view = backend.view()

    def number_at(key: Key) -> int:
        return int(view.get(key) or b"0")

    stored = {task: number_at(pack_key(HALL, 1, task)) for task in range(TASKS)}
    for task, number in told.items():
        assert number <= stored[task] <= number + 1
    assert number_at(TOTAL) == sum(stored.values()) == read_version(view, HALL)
    changes = read_changes(view, CODEC, HALL, 0, 10**6) or []
    assert [change.version for change in changes] == list(range(1, number_at(TOTAL) + 1))
    events = msgspec.convert([change.event for change in changes], list[tuple[int, int]])
    assert dict(events) == {task: number for task, number in stored.items() if number}
    view.close()
    backend.close()


@pytest.mark.parametrize("lines_before", [1, 40, 200, 201, 350])
def test_a_kill_in_the_middle_of_commits_loses_nothing_acknowledged(
    tmp_path: Path, lines_before: int
) -> None:
    path = tmp_path / "store"
    with subprocess.Popen([*COMMAND, str(path), str(TASKS)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(lines_before)]
        writer.kill()
        lines += writer.stdout.readlines()
    told = acknowledged(lines)
    assert sum(told.values()) >= lines_before
    check_store(path, told)


def can_trace() -> bool:
    strace = shutil.which("strace")
    return (
        strace is not None
        and subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0
    )


@pytest.mark.skipif(not can_trace(), reason="needs strace, and leave to use it, to make the disk fail")
@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ("fdatasync", "EIO", "Input/output error"),
        ("fdatasync", "ENOSPC", "No space left on device"),
        ("pwrite64", "ENOSPC", "No space left on device"),
        ("pwritev,writev,pwrite64", "EIO", "Input/output error"),
    ],
)
def test_a_disk_that_fails_a_commit_ends_the_process_and_loses_nothing_acknowledged(
    tmp_path: Path, call: str, error: str, sentence: str
) -> None:
    path = tmp_path / "store"
    open_lmdb(path, MAP_BYTES).close()
    # The later calls fail as well: a daemon that went on in spite of the first would be seen to.
    inject = f"inject={call}:error={error}:when=20+"
    strace = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(tmp_path / "trace"),
        "-P",
        str(path),
        "-e",
        f"trace={call}",
        "-e",
        inject,
    ]
    writer = subprocess.run(
        [*strace, *COMMAND, str(path), str(TASKS)], check=False, capture_output=True, text=True, timeout=60
    )
    lines = writer.stdout.splitlines(keepends=True)
    assert writer.returncode == 1, writer.stderr
    assert f"the store {path} failed" in lines[-1]
    assert sentence in lines[-1]
    assert "unknown\n" in lines
    told = acknowledged(lines)
    assert told
    check_store(path, told)
