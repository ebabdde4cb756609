"""``ticketd import``, with the daemon down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from config import load_settings
from tests.cli.conftest import Run
from tests.support.events import arena_file
from ticketd.cli.reach import open_backend
from ticketd.cli.tables import fetch_pages

DEMO = Path("ticketd/demo")


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(arena_file(**changes)))
    return path


def test_created_then_unchanged_then_replaced(run: Run, data: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.json")
    created = run("import", file, "--data", data)
    assert created.status == 0
    assert created.line.startswith(f"{file}: created event ")
    assert created.line.endswith("(50 seats)")
    assert ": unchanged event " in run("import", file, "--data", data).line
    rows = [{"row": "A", "first": 1, "last": 12}]
    replaced = run("import", write(file, rows=rows), "--data", data)
    assert replaced.line.endswith("(12 seats, 2 added, 40 removed)")


def test_an_unchanged_import_leaves_no_trace_in_the_audit(run: Run, data: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "a.json")
    for _ in range(3):
        run("import", file, "--data", data)
    assert [deed["action"] for deed in audit(data)] == ["event.put"]


def test_every_fault_is_told_in_its_place_and_the_others_are_imported(
    run: Run, data: Path, tmp_path: Path
) -> None:
    bad = write(tmp_path / "bad.json", currency="USX", tax_rate="2")
    good = write(tmp_path / "good.json")
    torn = tmp_path / "torn.json"
    torn.write_text('{"name": ')
    told = run("import", bad, good, torn, tmp_path / "none.json", "--data", data)
    assert told.status == 1
    assert told.line.startswith(f"{good}: created event ")
    store, *lines = told.err.splitlines()
    assert store.startswith("ticketd: a new store was made at ")
    assert [line.split(":")[1].strip() for line in lines[:2]] == ["currency", "tax_rate"]
    assert lines[2].startswith(f"{torn}: ")
    assert lines[3] == f"{tmp_path / 'none.json'}: No such file or directory"
    assert lines[4:] == ["ticketd: 3 of 4 files were not imported"]


def test_more_faults_than_are_told_are_counted(run: Run, data: Path, tmp_path: Path) -> None:
    rows = [{"row": "", "seats": ["1"]} for _ in range(450)]
    told = run("import", write(tmp_path / "bad.json", rows=rows), "--data", data)
    assert told.err.splitlines()[-2].endswith(" more")


def test_standard_input_and_json(run: Run, data: Path) -> None:
    told = run("import", "-", "--json", "--data", data, stdin=json.dumps(arena_file()).encode())
    answer = json.loads(told.out)
    assert (answer["file"], answer["outcome"], answer["seats"]) == ("-", "created", 50)


def test_a_file_too_large_is_refused(run: Run, data: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (16 * 1024 * 1024 + 1))
    told = run("import", large, "--data", data)
    assert told.status == 1
    assert "16777216" in told.err


def test_the_events_of_the_demonstration_can_be_imported(run: Run, data: Path) -> None:
    files = sorted(DEMO.glob("*.json"))
    assert len(files) == 3
    assert run("import", *files, "--data", data).status == 0
    listed = json.loads(run("status", "--json", "--data", data).out)["events"]
    assert len(listed) == 3


def audit(data: Path) -> list[dict[str, Any]]:
    settings = load_settings(flags={"storage.data": str(data)}).settings
    with open_backend(settings) as backend:
        return fetch_pages(backend, "/v1/operator/audit", "audit")  # type: ignore[return-value]  # JSON objects
