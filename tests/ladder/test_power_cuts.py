"""The short form of the rung of power cuts, and that traces are read and images made as they should be."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.ladder.power_cuts import RUNG
from tests.ladder.power_cuts.images import SECTOR, Disk, Moment, masks, moments
from tests.ladder.power_cuts.trace import Step, Synced, Told, UnknownTrace, Write, read_trace
from tests.ladder.rung import Budget
from tests.ladder.sale.strace import why_not

SEED = 1


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_every_image_that_a_power_cut_may_leave_holds_what_was_told(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=5, seed=SEED, folder=tmp_path))
    assert verdict.findings == ()
    assert verdict.void is None
    assert int(verdict.figures["images"]) > 100


STORE = Path("/d/s")
TOLD = re.compile(rb"version=(\d+)")


def hexed(text: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text) + '"'


def read(tmp_path: Path, *lines: str) -> list[Step]:
    trace = tmp_path / "trace"
    trace.write_text("".join(f"{line}\n" for line in lines))
    return list(read_trace(trace, STORE, TOLD))


OPENED = (
    f"11 openat(AT_FDCWD, {hexed(b'/d/s')}, O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5",
    f"11 openat(AT_FDCWD, {hexed(b'/d/s')}, O_WRONLY|O_DSYNC|O_CLOEXEC) = 6",
    f"11 openat(AT_FDCWD, {hexed(b'/d/log')}, O_WRONLY) = 7",
)


def test_a_commit_is_read_as_its_writes_its_syncs_and_what_was_told(tmp_path: Path) -> None:
    steps = read(
        tmp_path,
        *OPENED,
        f"12 pwrite64(5, {hexed(b'ab')}, 2, 8192) = 2",
        "12 lseek(5, 12288, SEEK_SET) = 12288",
        f"12 writev(5, [{{iov_base={hexed(b'cd')}, iov_len=2}}, {{iov_base={hexed(b'e')}, iov_len=1}}], 2) = 3",
        f"11 pwrite64(7, {hexed(b'log')}, 3, 0) = 3",
        "12 fdatasync(5 <unfinished ...>",
        f"11 sendto(9, {hexed(b'version=3')}, 9, 0, NULL, 0) = 9",
        "12 <... fdatasync resumed>) = 0",
        f"12 pwrite64(6, {hexed(b'm')}, 1, 4096 <unfinished ...>",
        "11 --- SIGCHLD {si_signo=SIGCHLD} ---",
        "12 <... pwrite64 resumed>) = 1",
    )
    assert steps == [
        Write(1, 8192, b"ab", False),
        Write(2, 12288, b"cde", False),
        Told(3),
        Synced((1, 2)),
        Write(3, 4096, b"m", True),
        Synced((3,)),
    ]


def test_a_sync_that_failed_and_a_write_after_its_beginning_promise_nothing(tmp_path: Path) -> None:
    steps = read(
        tmp_path,
        *OPENED,
        f"12 pwrite64(5, {hexed(b'a')}, 1, 8192) = 1",
        "12 fdatasync(5) = -1 EIO (Input/output error)",
        "12 fdatasync(5 <unfinished ...>",
        f"11 pwrite64(5, {hexed(b'b')}, 1, 12288) = 1",
        "12 <... fdatasync resumed>) = 0",
    )
    assert [step for step in steps if isinstance(step, Synced)] == [Synced((1,))]


@pytest.mark.parametrize(
    "line",
    [
        "12 ftruncate(5, 4096) = 0",
        f"12 pwrite64(5, {hexed(b'a')}..., 5000, 8192) = 5000",
    ],
)
def test_what_is_not_understood_ends_the_reading(tmp_path: Path, line: str) -> None:
    with pytest.raises(UnknownTrace):
        read(tmp_path, *OPENED, line)


def moment_of(steps: list[Step], content: bytes) -> Moment:
    *_, last = moments(steps, Disk(bytearray(content)))
    return last


def image(moment: Moment, mask: int) -> bytes:
    disk = bytearray(moment.disk.content)
    for bit, sector in enumerate(moment.sectors):
        if mask >> bit & 1:
            disk[sector.offset : sector.offset + len(sector.data)] = sector.data
    return bytes(disk)


def test_few_sectors_give_every_subset_once() -> None:
    content = bytes(8 * SECTOR)
    steps: list[Step] = [
        Write(1, 0, b"a" * 3 * SECTOR, False),
        Write(2, 5 * SECTOR, b"b" * 2 * SECTOR, False),
    ]
    moment = moment_of(steps, content)
    found = [image(moment, mask) for mask in masks(moment, random.Random(SEED), 10_000)]
    assert len(found) == len(set(found)) == 2**5 - 1
    assert content not in found


def test_many_sectors_give_as_many_images_as_are_wanted_the_likeliest_first() -> None:
    steps: list[Step] = [Write(number, number * 4096, b"x" * 4096, False) for number in range(1, 9)]
    moment = moment_of(steps, bytes(10 * 4096))
    found = [image(moment, mask) for mask in masks(moment, random.Random(SEED), 3000)]
    assert len(set(found)) == len(found) == 3000
    for cut in range(1, 65):  # every prefix, to a sector
        assert bytes(4096) + (b"x" * cut * SECTOR).ljust(9 * 4096, b"\0") in found


def test_a_sector_that_is_as_it_was_or_is_written_over_makes_no_image_of_its_own() -> None:
    steps: list[Step] = [
        Write(1, 0, b"a" * SECTOR + b"b" * SECTOR, False),
        Write(2, SECTOR, b"c" * SECTOR, False),
    ]
    moment = moment_of(steps, b"a" * 2 * SECTOR)
    found = [image(moment, mask) for mask in masks(moment, random.Random(SEED), 100)]
    assert sorted(found) == [b"a" * SECTOR + b"b" * SECTOR, b"a" * SECTOR + b"c" * SECTOR]


def test_what_was_synced_is_in_every_later_image_and_what_was_told_must_be() -> None:
    steps: list[Step] = [
        Write(1, 8192, b"a" * SECTOR, False),
        Synced((1,)),
        Told(4),
        Write(2, 0, b"m", True),
        Synced((2,)),
    ]
    seen = [
        (moment.told, len(moment.sectors), bytes(moment.disk.content[8192:8193]), moment.commits)
        for moment in moments(steps, Disk(bytearray(9000)))
    ]
    assert seen == [(0, 1, b"\0", []), (4, 1, b"a", [1]), (4, 0, b"a", [])]
