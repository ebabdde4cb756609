"""Opening image after image, and saying what is wrong with one: run as a process of its own, which a bad one may kill.

Each image is made in place, by writing its sectors over the durable file and taking them back. It must open, and all
that is in it, to the last byte, must be what was there after one of the commits: the newest that is durable, or one
that is being written; and no earlier one than somebody was told of. What was there after each commit has itself been
opened as the daemon opens it and verified, so that what holds for it holds for every image that is the same.

Arguments: the file with a ``Job``. A line of JSON on stdout is the ``Opened``.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import lmdb
import msgspec

from storage.change_log import read_version
from storage.engine import Partition, StorageError
from storage.lmdb_engine import LmdbView, open_lmdb
from storage.verify import verify_store
from tests.ladder.power_cuts.images import Disk, Moment, Sector, masks, moments
from tests.ladder.power_cuts.trace import Step, Write

MOST_FINDINGS: Final = 5
_SAMPLED: Final = 500
"""Of so many images one is opened as the daemon opens it, and verified."""
_FEWEST_IMAGES: Final = 8
"""Of each moment, however late it is."""
_IMAGES_A_SECOND: Final = 10_000
"""More than can be opened."""
_NAME_BYTES: Final = 128


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """``store`` is the file as it was before the steps, ``image`` where images are made, ``progress`` a file that names
    the one in hand. ``partition`` is that of the versions told."""

    store: str
    image: str
    progress: str
    steps: list[Step]
    partition: bytes
    map_bytes: int
    seconds: float
    seed: int


class Opened(msgspec.Struct, kw_only=True):
    """What was opened, and what was found; a finding names the moment and the image in it."""

    images: int = 0
    moments: int = 0
    commits: int = 0
    sampled: int = 0
    sectors_most: int = 0
    told: int = 0
    findings: list[str] = []


Pairs = list[tuple[bytes, bytes]]


class Content(msgspec.Struct, frozen=True):
    """All that is in an image, and the event's version."""

    pairs: Pairs
    version: int


class Opener:
    """Makes images in place and looks into them.

    The file is as long as it will ever be, and written through memory: what was not written yet is zeros. Where its
    length is looked at, it is cut to what a disk would have.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.opened = Opened()
        self._chances = random.Random(job.seed)
        self._ends = time.monotonic() + job.seconds
        self._newest: Content | None = None
        content = Path(job.store).read_bytes()
        self._length = max(
            [len(content), *(step.offset + len(step.data) for step in job.steps if isinstance(step, Write))]
        )
        self._disk = Disk(bytearray(content))
        self._moments = sum(1 for _ in moments(job.steps, Disk(bytearray(content))))
        self._file = os.open(job.image, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, self._length)
        self._map = mmap.mmap(self._file, self._length)
        progress = os.open(job.progress, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(progress, _NAME_BYTES)
        self._progress = mmap.mmap(progress, _NAME_BYTES)

    def run(self) -> Opened:
        for number, moment in enumerate(moments(self.job.steps, self._disk)):
            # What became durable at the end of the moment before is written over the image, which is as it was then.
            self._map[: len(moment.disk.content)] = bytes(moment.disk.content)
            self._look_at(number, moment)
            if len(self.opened.findings) >= MOST_FINDINGS or time.monotonic() >= self._ends:
                break
        return self.opened

    def _look_at(self, number: int, moment: Moment) -> None:
        opened, sectors = self.opened, moment.sectors
        opened.moments += 1
        opened.told = max(opened.told, moment.told)
        opened.sectors_most = max(opened.sectors_most, len(sectors))
        share = max(self._ends - time.monotonic(), 0) / (self._moments - number)
        ends = time.monotonic() + share
        most = max(int(share * _IMAGES_A_SECOND), 1)
        allowed = list(self._commits(number, moment))
        for count, mask in enumerate(masks(moment, self._chances, most), 1):
            with self._image(sectors, mask):
                self._name(number, mask)
                self._judge(number, mask, moment, allowed)
            opened.images += 1
            late = count >= _FEWEST_IMAGES and time.monotonic() >= ends
            if late or len(opened.findings) >= MOST_FINDINGS:
                return

    def _commits(self, number: int, moment: Moment) -> Iterator[Content]:
        """What may be found: each commit that is whole once its writes are there. Each is verified."""
        at = 0
        ends = [0]
        for write in moment.writes:
            at += len(write)
            ends.append(at)
        for writes in (0, *moment.commits):
            mask = (1 << ends[writes]) - 1
            with self._image(moment.sectors, mask):
                self._name(number, mask)
                content = self._content()
                if isinstance(content, str):
                    self._find(number, mask, f"the commit itself: {content}")
                    continue
                if self._newest is None or content.pairs != self._newest.pairs:
                    self.opened.commits += 1
                    self._verify(number, mask, moment)
                    self._newest = content
                yield content

    def _judge(self, number: int, mask: int, moment: Moment, allowed: list[Content]) -> None:
        content = self._content()
        if isinstance(content, str):
            self._find(number, mask, content)
        elif all(content.pairs != one.pairs for one in allowed):
            self._find(number, mask, "what is there is half of a commit")
        elif content.version < moment.told:
            told = f"version {moment.told} was told of, and only version {content.version} is there"
            self._find(number, mask, told)
        elif self.opened.images % _SAMPLED == 0:
            self._verify(number, mask, moment)

    def _content(self) -> Content | str:
        """All that is in the image, or why it cannot be read."""
        try:
            with (
                lmdb.open(
                    self.job.image, subdir=False, readonly=True, lock=False, map_size=self.job.map_bytes
                ) as env,
                env.begin() as txn,
            ):
                pairs = cast("Pairs", list(txn.cursor()))
                version = read_version(LmdbView(txn), Partition(self.job.partition))
        except lmdb.Error as error:
            return f"it does not open: {error}"
        return Content(pairs, version)

    def _verify(self, number: int, mask: int, moment: Moment) -> None:
        """Opens the image as the daemon does, and verifies all of it."""
        self.opened.sampled += 1
        chosen = [sector for bit, sector in enumerate(moment.sectors) if mask >> bit & 1]
        ends = [len(moment.disk.content), *(sector.offset + len(sector.data) for sector in chosen)]
        os.ftruncate(self._file, max(ends))
        try:
            if (problem := self._first_problem()) is not None:
                self._find(number, mask, problem)
        finally:
            os.ftruncate(self._file, self._length)

    def _first_problem(self) -> str | None:
        try:
            backend = open_lmdb(Path(self.job.image), self.job.map_bytes, read_only=True)
        except StorageError as error:
            return f"the daemon would not open it: {error}"
        view = backend.view()
        try:
            problem = next(iter(verify_store(view)), None)
            return None if problem is None else f"verify: {problem}"
        finally:
            view.close()
            backend.close()

    @contextlib.contextmanager
    def _image(self, sectors: list[Sector], mask: int) -> Iterator[None]:
        chosen = [sector for bit, sector in enumerate(sectors) if mask >> bit & 1]
        image = self._map
        for sector in chosen:
            image[sector.offset : sector.offset + len(sector.data)] = sector.data
        try:
            yield
        finally:
            for sector in reversed(chosen):
                image[sector.offset : sector.offset + len(sector.data)] = sector.before

    def _name(self, number: int, mask: int) -> None:
        name = f"moment {number} image {mask:x}"[:_NAME_BYTES]
        self._progress[:] = name.ljust(_NAME_BYTES).encode()

    def _find(self, number: int, mask: int, what: str) -> None:
        self.opened.findings.append(f"moment {number} image {mask:x}: {what}")


def main() -> None:
    """Opens what the file of the job says."""
    job = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    sys.stdout.write(msgspec.json.encode(Opener(job).run()).decode() + "\n")


if __name__ == "__main__":
    main()
