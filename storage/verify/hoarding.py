"""Invariants of what is kept against hoarding: who has how many places, and whose holds ran out."""

from __future__ import annotations

from collections.abc import Iterator

from storage.schema.layout import LAPSES, LAPSES_DUE, LIVE_BY_ADDRESS
from storage.verify.contents import EventContents
from storage.verify.problem import Problem


def check_live_by_address(event: EventContents) -> Iterator[Problem]:
    """Exactly the live places are found by the address that joined, where that is kept."""
    live = event.live_entries.values()
    wanted = ((entry.address_hash, entry.entry_id) for entry in live if entry.address_hash is not None)
    found = LIVE_BY_ADDRESS.scan(event.reader, event.partition)
    return event.compare("live-by-address", LIVE_BY_ADDRESS.name, wanted, found)


def check_lapses(event: EventContents) -> Iterator[Problem]:
    """Exactly what is remembered of holds that ran out stands in the index of what is to be forgotten; it is remembered
    in the order of time, and for no shorter than it is in force."""
    remembered = list(LAPSES.scan(event.reader, event.partition))
    wanted = ((record.forget_at_ms, *parts) for parts, record in remembered)
    yield from event.compare(
        "lapses-due", LAPSES_DUE.name, wanted, LAPSES_DUE.scan(event.reader, event.partition)
    )
    for parts, record in remembered:
        times = record.lapsed_at_ms
        if list(times) != sorted(times) or record.forget_at_ms < max(*times, record.cooldown_until_ms, 0):
            text = "its times are not in order, or it is forgotten too early"
            yield event.problem("lapses-in-order", f"lapses {parts[0]!r}", text)
