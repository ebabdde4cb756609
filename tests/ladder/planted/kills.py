"""Bugs that show when a daemon is killed and started again, which the rung of kills must find."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "downtime is not credited": Plant(
        file="ticketd/tree.py",
        right="    await credit_time_down(engine)\n",
        wrong="",
        told="change",
        rung="kills",
        seconds=14,
    ),
    "a part of the downtime is not credited": Plant(
        file="ticketd/domain/time_credit.py",
        right="credit_ms=min(lost_ms, LONGEST_DOWNTIME_CREDIT_MS - spent_ms),",
        wrong="credit_ms=min(lost_ms, LONGEST_DOWNTIME_CREDIT_MS - spent_ms) - 5000,",
        told="moved by",
        rung="kills",
        seconds=14,
    ),
    "after a restart one who is gone is counted still": Plant(
        file="ticketd/views/positions.py",
        right='        waiting = array("Q", seqs)\n',
        wrong='        waiting = array("Q", [0, *seqs])\n',
        told="position",
        rung="kills",
        seconds=14,
    ),
    "after a restart the first in line is not counted": Plant(
        file="ticketd/views/positions.py",
        right='        waiting = array("Q", seqs)\n',
        wrong='        waiting = array("Q", list(seqs)[1:])\n',
        # As soon as the first is let in the line would count below nobody, and the daemon stops instead: most often
        # before anybody has asked for a place.
        told="STORAGE_UNAVAILABLE",
        rung="kills",
        seconds=14,
    ),
}
