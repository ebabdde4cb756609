"""The rung of power cuts: an on-sale on the real daemon is traced, and every image that a power cut could have left of
its store is opened again.

Acknowledgements are in the same trace, so that an image must hold whatever anybody had been told of by then. Sectors of
512 bytes are taken to be written whole or not at all, as disks promise. Needs strace; without it a climb is void.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
import trio

from storage.data_folder import STORE_FILE
from storage.schema.layout import event_partition
from tests.ladder.power_cuts.opening import Job, Opened
from tests.ladder.power_cuts.trace import CALLS, OPTIONS, Step, Told, Write, read_trace
from tests.ladder.rung import Budget, Figure, Finding, Rung, Verdict
from tests.ladder.sale.buyers import Buyer
from tests.ladder.sale.recording import Recorder
from tests.ladder.sale.stage import EVENT_ID, STORAGE, Hall, set_stage
from tests.ladder.sale.strace import traced, why_not

BUYERS: Final = 12
FEWEST_TOLD: Final = 20
_TOLD: Final = re.compile(rb"(?i)x-commit-version: [^\r]*event-%b=(\d+);new" % str(EVENT_ID).encode())
_MOST_SECONDS: Final = 120.0
"""For a sale and its images; then comes another sale."""
_SALE_SECONDS: Final = 2.0
"""In a longer one the store grows, each image takes longer, and there are fewer of each moment."""
_FEWEST_SECONDS: Final = 20.0


def climb(budget: Budget) -> Verdict:
    """Sales one after another, and of each as many images as there is time for."""
    if (reason := why_not()) is not None:
        return Verdict(figures={}, void=reason)
    ends = time.monotonic() + budget.seconds
    total, writes, told, sales, found = Opened(), 0, 0, 0, list[str]()
    seconds = budget.seconds
    while not found and (sales == 0 or ends - time.monotonic() > _FEWEST_SECONDS):
        seconds = min(ends - time.monotonic(), _MOST_SECONDS)
        before, steps = record(
            budget.folder / f"sale-{sales}", budget.seed + sales, min(seconds / 8, _SALE_SECONDS)
        )
        told_now = sum(isinstance(step, Told) for step in steps)
        if told_now < FEWEST_TOLD:
            return Verdict(figures={}, void=f"a sale had {told_now} answers, of at least {FEWEST_TOLD}")
        opening = max(min(ends - time.monotonic(), seconds), 1.0)
        opened, found = _open_in_memory(before, steps, (opening, budget.seed + sales), budget.folder)
        total = _sum(total, opened)
        writes += sum(isinstance(step, Write) for step in steps)
        told += told_now
        sales += 1
    repeat = f"scripts/ladder --rung power_cuts --seed {budget.seed + sales - 1} --minutes {seconds / 60:.2f}"
    figures: dict[str, Figure] = {"sales": sales, "writes": writes, "answers_told": told, **_figures(total)}
    return Verdict(figures=figures, findings=tuple(Finding(what=what, repeat=repeat) for what in found))


def _open_in_memory(
    before: Path, steps: list[Step], bounds: tuple[float, int], folder: Path
) -> tuple[Opened, list[str]]:
    """Opens images where there is no disk to wait for; and what was found."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else folder) as place:
        opened, killed = open_images(before, steps, Path(place), bounds)
    return opened, [*opened.findings, *([killed] if killed else [])]


def _sum(one: Opened, other: Opened) -> Opened:
    return Opened(
        images=one.images + other.images,
        moments=one.moments + other.moments,
        commits=one.commits + other.commits,
        sampled=one.sampled + other.sampled,
        sectors_most=max(one.sectors_most, other.sectors_most),
    )


def record(folder: Path, seed: int, seconds: float) -> tuple[Path, list[Step]]:
    """Plays an on-sale of so many seconds under strace: a copy of the store before it, and all that was done to it."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = set_stage(folder / "data", Hall(rows=4, max_active=BUYERS))
    before, trace = folder / "before.lmdb", folder / "trace"
    shutil.copy(stage.data / STORE_FILE, before)
    chances = random.Random(seed)

    async def play(url: str) -> None:
        recorder = Recorder(url, stage.key, max_connections=BUYERS)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(BUYERS):
                    nursery.start_soon(Buyer(recorder, random.Random(chances.random()), stage.seats).live)
        await recorder.aclose()

    with stage.serving(prefix=traced(CALLS, str(trace), *OPTIONS)) as daemon:
        trio.run(play, daemon.url)
        daemon.stop()
    return before, list(read_trace(trace, stage.data / STORE_FILE, _TOLD))


def open_images(
    before: Path, steps: list[Step], folder: Path, bounds: tuple[float, int]
) -> tuple[Opened, str | None]:
    """Opens images for so many seconds, by a seed; what was found, and which image killed the process that opened it,
    if one did."""
    seconds, seed = bounds
    job = Job(
        store=str(before),
        image=str(folder / "image.lmdb"),
        progress=str(folder / "progress"),
        steps=steps,
        partition=event_partition(EVENT_ID),
        map_bytes=STORAGE.map_size_bytes,
        seconds=seconds,
        seed=seed,
    )
    file = folder / "job"
    file.write_bytes(msgspec.msgpack.encode(job))
    run = subprocess.run(
        [sys.executable, "-m", "tests.ladder.power_cuts.opening", str(file)],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    if run.returncode < 0:
        name = (folder / "progress").read_text().strip()
        return Opened(), f"{name}: opening it ended the process by signal {-run.returncode}"
    if run.returncode:
        raise RuntimeError(run.stderr)
    return msgspec.json.decode(run.stdout, type=Opened), None


def _figures(opened: Opened) -> dict[str, Figure]:
    return {
        "images": opened.images,
        "moments": opened.moments,
        "commits": opened.commits,
        "unsynced_sectors_most": opened.sectors_most,
        "images_verified_whole": opened.sampled,
    }


RUNG: Final = Rung(
    name="power_cuts",
    summary="images that power cuts may leave of the store, opened again and held against what was told",
    share=3,
    climb=climb,
)
