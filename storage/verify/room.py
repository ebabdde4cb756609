"""Invariants of the waiting room: every place is counted and stands in exactly the indices that it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from storage.schema.layout import (
    ADMISSIONS,
    DUE_ENTRIES,
    LINE,
    LIVE_BY_DEVICE,
    LIVE_BY_USER,
)
from storage.schema.records import EntryRecord
from storage.schema.states import LIVE_ENTRY_STATES, EntryState
from storage.verify.contents import EventContents, whole
from storage.verify.problem import Problem

_ACTIVE = frozenset({EntryState.READY, EntryState.SHOPPING})
_RATE_WINDOW_MS = 60_000


def check_entries(event: EventContents) -> Iterator[Problem]:
    """A place has the times that belong to its state, and a number that was given."""
    for entry in event.entries():
        where = f"entry {entry.entry_id}"
        unfitting = _unfitting(entry)
        if unfitting:
            yield event.problem(
                "entry-fits-state", where, f"it is {entry.state.value}, which does not fit {unfitting}"
            )
        if not 1 <= entry.seq < event.room.next_seq:
            yield event.problem("entry-seq-given", where, f"its number {entry.seq} was never given")


def check_room_counters(event: EventContents) -> Iterator[Problem]:
    """The room's counters equal a recount of its places."""
    states = Counter(entry.state for entry in event.live_entries.values())
    room = event.room
    expected = (
        states[EntryState.QUEUED],
        states[EntryState.LOBBY],
        states[EntryState.READY] + states[EntryState.SHOPPING],
    )
    if (room.waiting, room.lobby, room.active) != expected:
        text = f"kept are {_told(room.waiting, room.lobby, room.active)}; counted are {_told(*expected)}"
        yield event.problem("room-equals-recount", "room", text)


def check_line(event: EventContents) -> Iterator[Problem]:
    """Exactly those who are QUEUED stand in the line."""
    queued = (
        (entry.seq, entry.entry_id)
        for entry in event.live_entries.values()
        if entry.state is EntryState.QUEUED
    )
    found = ((*parts, entry_id) for parts, entry_id in LINE.scan(event.reader, event.partition))
    return event.compare("line", LINE.name, queued, found)


def check_live_places(event: EventContents) -> Iterator[Problem]:
    """Exactly the live places are found by their user, of whom each has one at most, and by their device."""
    live = event.live_entries.values()
    by_user = ((*parts, entry_id) for parts, entry_id in LIVE_BY_USER.scan(event.reader, event.partition))
    by_device = LIVE_BY_DEVICE.scan(event.reader, event.partition)
    users = ((entry.user_id, entry.entry_id) for entry in live)
    devices = ((entry.device_hash, entry.entry_id) for entry in live)
    yield from event.compare("live-by-user", LIVE_BY_USER.name, users, by_user)
    yield from event.compare("live-by-device", LIVE_BY_DEVICE.name, devices, by_device)


def check_due_entries(event: EventContents) -> Iterator[Problem]:
    """Exactly the live places that lapse by themselves stand in the index of what falls due."""
    wanted = (
        (entry.due_at_ms, entry.entry_id)
        for entry in event.live_entries.values()
        if entry.due_at_ms is not None
    )
    found = DUE_ENTRIES.scan(event.reader, event.partition)
    return event.compare("due-entries", DUE_ENTRIES.name, wanted, found)


def check_admissions(event: EventContents) -> Iterator[Problem]:
    """The admissions that are remembered are the latest ones, numbered without a gap, in the order of time; those since
    the settings last changed keep the rate."""
    times = {whole(key): at_ms for (key,), at_ms in ADMISSIONS.scan(event.reader, event.partition)}
    ordinals = sorted(times)
    admitted = event.room.admitted
    if ordinals != list(range(admitted - len(ordinals) + 1, admitted + 1)):
        text = f"{len(ordinals)} are remembered, which are not the latest of {admitted}"
        yield event.problem("admissions-kept", "admissions", text)
    for ordinal in ordinals:
        if times[ordinal] < times.get(ordinal - 1, 0):
            text = "it is earlier than the one before it"
            yield event.problem("admissions-in-order", f"admission {ordinal}", text)
    if event.sale is None or not event.sale.room.enabled:
        return
    rate = event.sale.room.admit_per_minute
    for ordinal in ordinals:
        if ordinal <= admitted - event.history.admissions or ordinal - rate not in times:
            continue
        if times[ordinal] < times[ordinal - rate] + _RATE_WINDOW_MS:
            text = f"{rate} others were let in within the minute before, as many as are allowed in one"
            yield event.problem("admissions-within-rate", f"admission {ordinal}", text)


def check_active(event: EventContents) -> Iterator[Problem]:
    """No more shop at once than the room allows, unless an operator lowered that since the last was let in."""
    if event.sale is None or not event.sale.room.enabled or event.history.admissions == 0:
        return
    active = sum(entry.state in _ACTIVE for entry in event.live_entries.values())
    if active > event.sale.room.max_active:
        text = f"{active} were let in, where {event.sale.room.max_active} are allowed"
        yield event.problem("active-within-limit", "room", text)


def _unfitting(entry: EntryRecord) -> str:
    """What of a place does not fit its state; empty if all does."""
    wanted = (
        ("the time at which it lapses", entry.due_at_ms, entry.state in _ACTIVE),
        ("the time of its end", entry.ended_at_ms, entry.state not in LIVE_ENTRY_STATES),
    )
    wrong = [name for name, value, needed in wanted if (value is not None) != needed]
    if entry.state in _ACTIVE and entry.admitted_at_ms is None:
        wrong.append("the time of its admission")
    if entry.state is EntryState.SHOPPING and None in {entry.access_kid, entry.access_issued_at_ms}:
        wrong.append("what makes its access token")
    return ", ".join(wrong)


def _told(waiting: int, lobby: int, active: int) -> str:
    return f"{waiting} waiting, {lobby} in the lobby, {active} let in"
