"""``serve --demo``: puts three events into the store, makes a storefront's key, and shows a tour of the API.

A second start finds what the first one made. The events are as any other events: they can be bought, changed, deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from storage.engine import Command
from storage.schema.ids import EventId
from storage.schema.layout import SALE, SYSTEM, event_partition
from ticketd.credentials.api_keys import API_KEY_RANDOM_BYTES, Scope
from ticketd.demo.tour import tour_text
from ticketd.domain.events import PutEvent, event_command_partitions, put_event
from ticketd.domain.keys import add_api_key, fresh_api_key
from ticketd.event_file.parse import parse_event_file
from ticketd.event_file.plan import EventPlan
from ticketd.places import OUTBOX_FOLDER
from ticketd.tree import Running

KEY_FILE: Final = "demo-api-key"
EVENT_FILES: Final = ("arena.json", "theatre.json", "club.json")

_DAY_MS: Final = 24 * 60 * 60 * 1000
_52_WEEKS_MS: Final = 364 * _DAY_MS
"""Whole weeks, so that an event stays on its day of the week."""
_AHEAD_MS: Final = 30 * _DAY_MS


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration made: where it is, the key to it, and where its mails lie."""

    url: str
    api_key: str
    outbox: Path


async def stock_demo(running: Running) -> Demo:
    """Brings along what is not there yet."""
    services = running.services
    now_ms = services.clock.now_ms()
    for name in EVENT_FILES:
        plan = upcoming(parse_event_file(files(__package__).joinpath(name).read_bytes()), now_ms)
        event_id = EventId(plan.event_id)
        with services.engine.snapshot(event_partition(event_id)) as view:
            sale = SALE.get(view, event_partition(event_id))
        if sale is None or sale.date_ms <= now_ms:
            put = partial(put_event, command=PutEvent(plan))
            await services.engine.submit(Command("put_event", event_command_partitions(event_id), put))
    return Demo(running.public_url, await _demo_key(running), services.data.resolve() / OUTBOX_FOLDER)


def told(demo: Demo) -> str:
    """The address, the key and the tour."""
    return "\n".join(
        (
            f"address: {demo.url}",
            f"API key: {demo.api_key}",
            "",
            "A tour to copy and paste into another terminal, line by line or all at once:",
            "",
            tour_text(demo.url, demo.api_key, str(demo.outbox)),
        )
    )


def upcoming(plan: EventPlan, now_ms: int) -> EventPlan:
    """The plan, so many times 52 weeks later that its event is at least 30 days ahead."""
    rounds = max(0, -((plan.date_ms - now_ms - _AHEAD_MS) // _52_WEEKS_MS))
    later_ms = rounds * _52_WEEKS_MS
    return replace(
        plan,
        date_ms=plan.date_ms + later_ms,
        doors_open_ms=_later(plan.doors_open_ms, later_ms),
        sale_end_ms=_later(plan.sale_end_ms, later_ms),
        refundable_until_ms=_later(plan.refundable_until_ms, later_ms),
    )


def _later(at_ms: int | None, later_ms: int) -> int | None:
    return None if at_ms is None else at_ms + later_ms


async def _demo_key(running: Running) -> str:
    """The storefront's key of an earlier start, as long as it is in force, or a new one, kept for the next start."""
    services = running.services
    file = services.data / KEY_FILE
    try:
        kept = file.read_text().strip()
    except FileNotFoundError:
        kept = ""
    if kept and services.keys.find_api_key(kept) is not None:
        return kept
    random = os.urandom(API_KEY_RANDOM_BYTES)
    text, record = fresh_api_key(random, Scope.STOREFRONT, "demo", services.clock.now_ms())
    await services.engine.submit(Command("add_api_key", (SYSTEM,), partial(add_api_key, record=record)))
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{text}\n")
    return text
