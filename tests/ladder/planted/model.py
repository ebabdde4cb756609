"""Bugs that the model must catch within its short form."""

from __future__ import annotations

from typing import Final

from tests.support.planting import Plant

PLANTS: Final[dict[str, Plant]] = {
    "purchase limit off by one": Plant(
        file="ticketd/domain/reservations.py",
        right="    if has.held + has.bought + seats > sale.purchase_limit:\n",
        wrong="    if has.held + has.bought + seats > sale.purchase_limit + 1:\n",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "admission off by one": Plant(
        file="ticketd/domain/room_book.py",
        right="        if self.room.active >= settings.max_active:\n",
        wrong="        if self.room.active > settings.max_active:\n",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "a window of the rate that is a millisecond short": Plant(
        file="ticketd/domain/room_book.py",
        right="RATE_WINDOW_MS: Final = 60_000\n",
        wrong="RATE_WINDOW_MS: Final = 59_999\n",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "overtaking": Plant(
        file="ticketd/domain/admission.py",
        right="    line = list(LINE.scan(book.tx, book.partition, limit=limit)) if book.room.waiting else []\n"
        "    before",
        wrong="    line = list(LINE.scan(book.tx, book.partition, limit=limit, reverse=True))\n    before",
        rung="model",
        seed=4,
        told="by the model",
        seconds=2,
        sample=True,
    ),
    "a hold that ends a millisecond late": Plant(
        file="ticketd/domain/reservations.py",
        right="DUE_RESERVATIONS.until(tx, partition, tx.now_ms, limit)",
        wrong="DUE_RESERVATIONS.until(tx, partition, tx.now_ms - 1, limit)",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "a late payment that passes over the purchase limit": Plant(
        file="ticketd/domain/late_payment.py",
        right="    return has.held + has.bought + len(hold.seats) <= sale.purchase_limit\n",
        wrong="    return has.held + has.bought >= 0\n",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "seats of a cancelled order that still count as bought": Plant(
        file="ticketd/domain/reservations.py",
        right="replace(has, bought=has.bought - len(seats)))",
        wrong="replace(has, bought=has.bought))",
        rung="model",
        seed=4,
        told="by the model",
    ),
    "a capacity that one more fits into": Plant(
        file="ticketd/domain/rooms.py",
        right="book.queue_size >= book.sale.room.capacity:",
        wrong="book.queue_size > book.sale.room.capacity:",
        rung="model",
        seed=4,
        told="by the model",
    ),
}
