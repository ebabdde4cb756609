"""Bugs after which a power cut loses something, which the rung of power cuts must find."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "meta pages are not synced": Plant(
        file="storage/lmdb_engine.py",
        right="            metasync=synced,\n",
        wrong="            metasync=False,\n",
        told="was told of, and only version",
        rung="power_cuts",
        seconds=5,
        sample=True,
    ),
    "commits are not synced": Plant(
        file="storage/lmdb_engine.py",
        right="            sync=synced,\n",
        wrong="            sync=False,\n",
        told="moment",
        rung="power_cuts",
        seconds=8,
    ),
    "answers before the commit": Plant(
        file="storage/writer.py",
        right="                self._busy = True\n                while",
        wrong="                self._busy = True\n"
        "                for job, outcome in self._commits._batches[0].outcomes:\n"
        "                    job.settle(outcome)\n"
        "                    if isinstance(job, _Waiting) and job.task is not None:\n"
        "                        trio.lowlevel.reschedule(job.task)\n"
        "                        job.task = None\n"
        "                while",
        told="was told of, and only version",
        rung="power_cuts",
        seconds=8,
    ),
}
