"""Bugs that show in what many are answered at the same time, which the rung of histories must find."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "snapshots show what is not published": Plant(
        file="storage/writer.py",
        right="        return self._commits.base\n",
        wrong="        return None\n",
        told="told ",
        rung="history",
        seconds=30,
    ),
    "seats that are held can be held again": Plant(
        file="ticketd/domain/reservations.py",
        right="    are_free = all(row.states[position] == SeatState.AVAILABLE for row, position in found)\n",
        wrong="    are_free = all(row.states[position] != SeatState.SOLD for row, position in found)\n",
        told="the daemon failed",
        rung="history",
        seconds=8,
    ),
    "one too many is let in": Plant(
        file="ticketd/domain/room_book.py",
        right="        if self.room.active >= settings.max_active:\n",
        wrong="        if self.room.active > settings.max_active:\n",
        told="with 20 inside",
        rung="history",
        seconds=8,
    ),
}
