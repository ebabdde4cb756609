"""Faults planted in what is kept against hoarding."""

from __future__ import annotations

import pytest

from storage.schema.layout import ENTRIES, LAPSES, LAPSES_DUE, LIVE_BY_ADDRESS
from storage.schema.records import LapseRecord
from storage.schema.states import EntryState
from tests.storage.verify.good_store import Damage


def lapse_in(damage: Damage) -> tuple[bytes, LapseRecord]:
    (subject,), record = next(iter(LAPSES.scan(damage.tx, damage.event)))
    assert isinstance(subject, bytes)
    return subject, record


def test_a_live_place_that_its_address_does_not_find(damage: Damage) -> None:
    (parts,) = LIVE_BY_ADDRESS.scan(damage.tx, damage.event)
    LIVE_BY_ADDRESS.remove(damage.tx, damage.event, *parts)
    assert damage.found() == ["live-by-address"]


def test_an_ended_place_that_an_address_finds(damage: Damage) -> None:
    left = damage.find(ENTRIES, state=EntryState.LEFT)
    LIVE_BY_ADDRESS.add(damage.tx, damage.event, b"a" * 16, left.entry_id)
    assert damage.found() == ["live-by-address"]


def test_a_lapse_that_would_never_be_forgotten(damage: Damage) -> None:
    subject, record = lapse_in(damage)
    LAPSES_DUE.remove(damage.tx, damage.event, record.forget_at_ms, subject)
    assert damage.found() == ["lapses-due"]


def test_a_lapse_that_is_gone_and_yet_to_be_forgotten(damage: Damage) -> None:
    subject, _ = lapse_in(damage)
    LAPSES.delete(damage.tx, damage.event, subject)
    assert damage.found() == ["lapses-due"]


@pytest.mark.parametrize(
    ("after_ms", "cooldown_ms", "found"),
    [((0,), 0, []), ((5, 4), 0, ["lapses-in-order"]), ((4, 5), 0, []), ((0,), 10**9, ["lapses-in-order"])],
)
def test_times_of_lapses(
    damage: Damage, after_ms: tuple[int, ...], cooldown_ms: int, found: list[str]
) -> None:
    subject, record = lapse_in(damage)
    (at_ms,) = record.lapsed_at_ms
    damaged = LapseRecord(
        lapsed_at_ms=tuple(at_ms + after for after in after_ms),
        cooldown_until_ms=cooldown_ms and at_ms + cooldown_ms,
        forget_at_ms=record.forget_at_ms,
    )
    LAPSES.put(damage.tx, damaged, damage.event, subject)
    assert damage.found() == found
