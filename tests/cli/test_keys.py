"""``ticketd keys``, with the daemon down."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from ticketd.cli import tables

KEY = re.compile(r"tk_([a-z2-7]{12})_[A-Za-z0-9_-]{43}")


def test_create_prints_the_key_alone_and_makes_the_folder(run: Run, data: Path) -> None:
    told = run("keys", "create", "--data", data)
    assert told.status == 0
    assert KEY.fullmatch(told.line)


def test_list_shows_keys_but_no_secret(run: Run, data: Path) -> None:
    made = {
        scope: run("keys", "create", "--scope", scope, "--name", f"the {scope} one", "--data", data).line
        for scope in ("public", "storefront", "operator", "gate")
    }
    table = run("keys", "list", "--data", data).out
    listed = json.loads(run("keys", "list", "--json", "--data", data).out)
    assert [(key["scope"], key["name"]) for key in listed] == [(s, f"the {s} one") for s in made]
    for key, text in zip(listed, made.values(), strict=True):
        key_id, secret = text.removeprefix("tk_").split("_", 1)
        assert key["key_id"] == key_id
        assert key_id in table
        assert secret not in table + json.dumps(listed)


def test_many_keys_are_listed_page_by_page(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_PER_PAGE", 2)
    for number in range(5):
        run("keys", "create", "--name", number, "--data", data)
        listed = json.loads(run("keys", "list", "--json", "--data", data).out)
        assert sorted(key["name"] for key in listed) == [str(made) for made in range(number + 1)]


def test_revoke_is_for_good_and_may_be_said_again(run: Run, data: Path) -> None:
    key_id = run("keys", "create", "--data", data).line.split("_")[1]
    assert run("keys", "revoke", key_id, "--data", data).status == 0
    (first,) = json.loads(run("keys", "list", "--json", "--data", data).out)
    assert first["revoked_at"]
    assert run("keys", "revoke", key_id, "--data", data).status == 0
    assert json.loads(run("keys", "list", "--json", "--data", data).out) == [first]


@pytest.mark.parametrize("key_id", ["nosuchkey", "../stats", "a b", "é"])
def test_an_unknown_key_cannot_be_revoked(run: Run, data: Path, key_id: str) -> None:
    run("keys", "create", "--data", data)
    told = run("keys", "revoke", key_id, "--data", data)
    assert told.status == 1
    assert told.err == "ticketd: There is no API key with this id.\n"


@pytest.mark.parametrize("name", ["a\nb", "x" * 101])
def test_a_name_that_cannot_be_shown_is_refused(run: Run, data: Path, name: str) -> None:
    told = run("keys", "create", "--name", name, "--data", data)
    assert told.status == 1
    assert "name" in told.err
    assert run("keys", "create", "--name", "x" * 100, "--data", data).status == 0


@pytest.mark.parametrize("kind", ["user", "queue", "access", "ticket", "link"])
def test_rotate_prints_the_new_id(run: Run, data: Path, kind: str) -> None:
    run("keys", "create", "--data", data)
    first, second = (run("keys", "rotate", kind, "--data", data).line for _ in range(2))
    assert first != second


def test_reading_makes_no_folder(run: Run, data: Path) -> None:
    for command in (("keys", "list"), ("keys", "revoke", "x"), ("keys", "rotate", "user"), ("status",)):
        assert run(*command, "--data", data).status == 1
    assert not data.exists()
    data.mkdir()
    told = run("keys", "list", "--data", data)
    assert told.err == f"ticketd: the data folder {data} holds no store\n"
    assert list(data.iterdir()) == []
