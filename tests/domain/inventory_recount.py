"""A recount of an event's inventory that shares nothing with the code that keeps the counts."""

from __future__ import annotations

from uuid import UUID

from storage.engine import Partition, Reader
from storage.keys import Part
from storage.schema.ids import EventId, RowKey, SeatNumber, seat_number
from storage.schema.layout import (
    COUNTS,
    DUE_RESERVATIONS,
    EVENT,
    OPENINGS,
    PURCHASES,
    RESERVATIONS,
    ROW_PLANS,
    ROWS,
    SECTIONS,
    TOTAL,
    event_partition,
)
from storage.schema.records import CountRecord, RowRecord
from storage.schema.states import LIVE_RESERVATION_STATES, ReservationState, SeatState


def seats_by_name(reader: Reader, event_id: EventId) -> dict[str, SeatNumber]:
    """Every seat of the event as "Section/Row/Number", in the order of the hall."""
    partition = event_partition(event_id)
    event = EVENT.get(reader, partition)
    assert event is not None
    found: dict[str, SeatNumber] = {}
    for section_key in event.section_keys:
        section = SECTIONS.get(reader, partition, section_key)
        assert section is not None
        for row_key in section.row_keys:
            row = ROW_PLANS.get(reader, partition, row_key)
            assert row is not None
            for seat in row.seats:
                name = f"{section.name}/{row.label}/{seat.number}"
                assert name not in found
                found[name] = seat_number(row_key, seat.position)
    return found


def recount(reader: Reader, event_id: EventId) -> None:
    """Fails unless counts, openings, purchases and indices equal what the rows and the reservations say."""
    partition = event_partition(event_id)
    owned = _recount_seats(reader, partition)
    holds = {hold.reservation_id: hold for _, hold in RESERVATIONS.scan(reader, partition)}
    live = [hold for hold in holds.values() if hold.state in LIVE_RESERVATION_STATES]
    held: dict[UUID, int] = {}
    for hold in live:
        assert owned.pop(hold.reservation_id) == set(hold.seats)
        held[hold.user_id] = held.get(hold.user_id, 0) + len(hold.seats)
    assert owned.keys() <= {h.order_id for h in holds.values() if h.state is ReservationState.ORDERED}
    assert set(DUE_RESERVATIONS.scan(reader, partition)) == {(h.due_at_ms, h.reservation_id) for h in live}
    purchases = {user: has for (user,), has in PURCHASES.scan(reader, partition)}
    assert {user: has.held for user, has in purchases.items() if has.held} == held
    assert sum(has.bought for has in purchases.values()) == sum(map(len, owned.values()))
    assert all(has.held or has.bought for has in purchases.values())


def sections_in_order(reader: Reader, partition: Partition) -> dict[Part, tuple[RowKey, ...]]:
    """The sections that the event names, each with its rows as these say it themselves."""
    event = EVENT.get(reader, partition)
    assert event is not None
    rows: dict[Part, dict[int, RowKey]] = {key: {} for key in event.section_keys}
    for (row_key,), row in ROW_PLANS.scan(reader, partition):
        assert isinstance(row_key, int)
        assert row.place not in rows[row.section_key]
        rows[row.section_key][row.place] = RowKey(row_key)
    return {key: tuple(by_place[at] for at in range(len(by_place))) for key, by_place in rows.items()}


def _recount_seats(reader: Reader, partition: Partition) -> dict[UUID, set[SeatNumber]]:
    """Checks all that is counted of the seats; the seats that each owner has."""
    by_group: dict[tuple[int, int], list[int]] = {}
    owned: dict[UUID, set[SeatNumber]] = {}
    openings: dict[int, dict[int, int]] = {}
    plans = {key: row for (key,), row in ROW_PLANS.scan(reader, partition)}
    records = {key: record for (key,), record in ROWS.scan(reader, partition)}
    assert records.keys() <= plans.keys()
    for row_key, row in plans.items():
        assert isinstance(row_key, int)
        record = records.get(row_key) or RowRecord(states=b"", owners={})
        states = record.states + bytes(row.slots - len(record.states))
        assert record.owners.keys() <= {seat.position for seat in row.seats}
        line = "".join("x" if states[seat.position] else "." for seat in row.seats)
        runs = {min(len(run), 15) for run in line.split("x") if run}
        openings.setdefault(row.section_key, {})[row.place] = sum(1 << run for run in runs)
        for seat in row.seats:
            state, owner = SeatState(states[seat.position]), record.owners.get(seat.position)
            by_group.setdefault((row.section_key, seat.tier), [0, 0, 0, 0])[state] += 1
            assert (owner is not None) == (state in {SeatState.RESERVED, SeatState.SOLD})
            if owner is not None:
                owned.setdefault(owner, set()).add(seat_number(RowKey(row_key), seat.position))
    assert sections_in_order(reader, partition) == {
        key: section.row_keys for (key,), section in SECTIONS.scan(reader, partition)
    }
    assert {parts: _list(count) for parts, count in COUNTS.scan(reader, partition)} == by_group
    total = TOTAL.get(reader, partition)
    assert total is not None
    assert _list(total) == [sum(column) for column in zip(*by_group.values(), strict=True)]
    assert {key: packed for (key,), packed in OPENINGS.scan(reader, partition)} == {
        key: b"".join(words[place].to_bytes(2, "little") for place in range(len(words)))
        for key, words in openings.items()
    }
    return owned


def _list(counted: CountRecord) -> list[int]:
    return [counted.free, counted.held, counted.sold, counted.blocked]
