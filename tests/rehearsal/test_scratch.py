"""What a scratch daemon is started with: settings and an event that the daemon takes, as small or large as asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from config import load_settings
from ticketd.event_file.parse import parse_event_file
from ticketd.rehearsal.scratch import ScratchFailed, ScratchPlan, event_file, scratch_folder, settings_text

PLAN = ScratchPlan(
    buyers=500,
    seats=500,
    max_active=100,
    admit_per_minute=600,
    hold_seconds=20,
    arrive_seconds=10,
    lobby=False,
    keep=False,
)
NOW = datetime(2026, 7, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize("buyers", [1, 250, 499, 500, 5000, 100_000])
def test_its_settings_are_ones_that_the_daemon_takes(tmp_path: Path, buyers: int) -> None:
    file = tmp_path / "ticketd.toml"
    file.write_text(settings_text(replace(PLAN, buyers=buyers)))
    settings = load_settings(file).settings
    poll = settings.rooms.poll_interval_seconds
    assert poll == min(60, max(1, buyers // 250))
    # Who polls as often as asked is not refused.
    assert settings.rate_limits.queue_status_per_minute * poll >= 60
    assert settings.rate_limits.enabled


@pytest.mark.parametrize("seats", [1, 24, 25, 26, 500, 501, 20_000])
def test_its_event_has_as_many_seats_as_asked(seats: int) -> None:
    document = msgspec.json.encode(event_file(replace(PLAN, seats=seats), NOW))
    plan = parse_event_file(document)
    assert sum(len(row.seats) for section in plan.sections for row in section.rows) == seats
    assert plan.general_sale_start_ms < NOW.timestamp() * 1000
    assert plan.room.lobby_opens_ms is None


def test_with_a_lobby_the_sale_opens_once_all_have_come() -> None:
    plan = parse_event_file(msgspec.json.encode(event_file(replace(PLAN, lobby=True), NOW)))
    assert plan.room.lobby_opens_ms is not None
    assert plan.room.lobby_opens_ms < NOW.timestamp() * 1000
    assert plan.general_sale_start_ms > (NOW.timestamp() + 10) * 1000


def test_folders_are_removed_or_kept_and_never_shared(tmp_path: Path) -> None:
    with scratch_folder(PLAN) as folder:
        (folder / "x").write_text("x")
    assert not folder.exists()
    with scratch_folder(replace(PLAN, keep=True)) as folder:
        pass
    folder.rmdir()
    named = replace(PLAN, folder=tmp_path / "a" / "b")
    with scratch_folder(named) as folder:
        (folder / "x").write_text("x")
    assert (tmp_path / "a" / "b" / "x").exists()
    with pytest.raises(ScratchFailed, match="not empty"), scratch_folder(named):
        pass
