"""``token``, ``room`` and ``status``, with the daemon down, and a data folder that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from storage.data_folder import DataFolder
from tests.cli.conftest import Run
from tests.support.events import arena_file


@pytest.fixture
def event_id(run: Run, data: Path) -> str:
    told = run("import", "-", "--json", "--data", data, stdin=json.dumps(arena_file()).encode())
    return str(json.loads(told.out)["event_id"])


def test_token_prints_a_jwt_alone(run: Run, data: Path) -> None:
    told = run("token", "--user", uuid4(), "--data", data)
    assert told.status == 0
    assert told.line.startswith("eyJ")
    assert told.line.count(".") == 2


def test_that_a_new_store_was_made_is_told_beside_the_answer(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text(json.dumps(arena_file()))
    for number, command in enumerate((("keys", "create"), ("token", "--user", uuid4()), ("import", file))):
        data = tmp_path / str(number)
        told = run(*command, "--data", data)
        assert told.line
        assert told.err == f"ticketd: a new store was made at {data / 'ticketd.lmdb'}\n"
        assert run(*command, "--data", data).err == ""


@pytest.mark.parametrize(("seconds", "status"), [(59, 1), (60, 0), (86400, 0), (86401, 1)])
def test_the_bounds_of_a_tokens_life(run: Run, data: Path, seconds: int, status: int) -> None:
    told = run("token", "--user", uuid4(), "--ttl", seconds, "--data", data)
    assert told.status == status
    assert ("ttl_seconds" in told.err) == bool(status)


def test_a_room_is_paused_resumed_and_set(run: Run, data: Path, event_id: str) -> None:
    assert run("room", "pause", event_id, "--data", data).line.startswith("paused: 0 of 500 shop")
    assert "paused" in run("status", "--data", data).out
    assert run("room", "resume", event_id, "--data", data).line.startswith("open: ")
    told = run(
        "room",
        "set",
        event_id,
        "--max-active",
        1,
        "--admit-per-minute",
        2,
        "--capacity",
        3,
        "--json",
        "--data",
        data,
    )
    room = json.loads(told.out)
    assert (room["max_active"], room["admit_per_minute"], room["capacity"]) == (1, 2, 3)
    assert run("room", "set", event_id, "--capacity", 4, "--data", data).line == (
        "open: 0 of 1 shop, 0 of 4 wait, 2 a minute are let in"
    )


def test_a_room_takes_no_less_than_one(run: Run, data: Path, event_id: str) -> None:
    for option in ("--max-active", "--admit-per-minute", "--capacity"):
        told = run("room", "set", event_id, option, 0, "--data", data)
        assert told.status == 1
        assert option.removeprefix("--").replace("-", "_") in told.err
    told = run("room", "set", event_id, "--data", data)
    assert told.status == 1
    assert "nothing to change" in told.err


def test_the_room_of_an_unknown_event(run: Run, data: Path, event_id: str) -> None:
    told = run("room", "pause", uuid4(), "--data", data)
    assert (told.status, told.err) == (1, "ticketd: There is no such event.\n")


def test_status_tells_seats_and_rooms(run: Run, data: Path, event_id: str) -> None:
    table = run("status", "--data", data).out
    assert "not running" in table.splitlines()[0]
    (row,) = (line for line in table.splitlines() if event_id in line)
    assert row.split()[:9] == [event_id, "ON_SALE", "2027-08-15T19:00:00Z", "50", "0", "0", "0", "0", "0"]
    told = json.loads(run("status", "--json", "--data", data).out)
    assert told["running"] is False
    assert told["events"][0]["seats"] == {"available": 50, "reserved": 0, "sold": 0, "blocked": 0}


def test_a_folder_in_use_is_left_alone(run: Run, data: Path, event_id: str) -> None:
    with DataFolder.open(data):
        for command in (("status",), ("keys", "create"), ("token", "--user", uuid4())):
            told = run(*command, "--data", data)
            assert told.status == 1
            assert "is in use by process " in told.err
    assert run("status", "--data", data).status == 0


def test_a_file_is_no_data_folder(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for command in (("status",), ("keys", "create")):
        told = run(*command, "--data", file)
        assert (told.status, told.err) == (1, f"ticketd: {file} is not a folder\n")


def test_a_store_that_is_none_is_refused(run: Run, data: Path) -> None:
    data.mkdir()
    (data / "ticketd.lmdb").write_bytes(b"not a store" * 1000)
    for command in (("status",), ("keys", "create")):
        told = run(*command, "--data", data)
        assert told.status == 1
        assert "Traceback" not in told.err
        assert len(told.err.splitlines()) == 1


def test_a_folder_that_is_open_to_others_is_warned_of(run: Run, data: Path, event_id: str) -> None:
    assert run("status", "--data", data).err == ""
    data.chmod(0o755)
    for command in (("status",), ("keys", "create"), ("verify",)):
        told = run(*command, "--data", data)
        assert told.status == 0
        assert told.out
        assert told.err.startswith(f"ticketd: warning: {data} is open to other users (mode 0755)")
        assert told.err.endswith(f"type chmod 700 {data}\n")
