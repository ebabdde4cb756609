"""The command line as a whole: help, wrong command lines, and what an operator is told when something fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

COMMANDS = (
    "serve",
    "import",
    "keys",
    "token",
    "room",
    "refund",
    "status",
    "verify",
    "verify-draw",
    "ledger",
    "reconcile",
    "rehearse",
    "config",
    "version",
)


def test_help_names_every_command_and_no_other(run: Run) -> None:
    told = run("--help")
    assert told.status == 0
    lines = told.out.split("COMMAND\n")[1].split("\n\n")[0].splitlines()
    listed = [
        line.split()[0] for line in lines if line[:5].strip()
    ]  # the text to a long name stands below it
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize(
    "command",
    [
        ("serve",),
        ("import",),
        ("keys",),
        ("keys", "create"),
        ("keys", "list"),
        ("keys", "revoke"),
        ("keys", "rotate"),
        ("token",),
        ("room",),
        ("room", "pause"),
        ("room", "resume"),
        ("room", "set"),
        ("status",),
        ("verify",),
        ("config",),
        ("config", "show"),
        ("config", "check"),
        ("version",),
    ],
)
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    told = run(*command, "--help")
    assert told.status == 0
    assert told.out.startswith(f"usage: ticketd {' '.join(command)}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ((), "COMMAND"),
        (("sell",), "sell"),
        (("keys",), "ACTION"),
        (("keys", "create", "--scope", "king"), "king"),
        (("keys", "revoke"), "ID"),
        (("keys", "rotate", "door"), "door"),
        (("token",), "--user"),
        (("token", "--user", "me"), "'me' is not a UUID"),
        (("token", "--user", "0190f1d2-0000-7000-8000-000000000001", "--ttl", "soon"), "soon"),
        (("room", "set", "x"), "'x' is not a UUID"),
        (("import",), "FILE"),
        (("status", "--jso"), "--jso"),
        (("version", "now"), "now"),
    ],
)
def test_a_wrong_command_line_is_told_what_to_type(run: Run, wrong: tuple[str, ...], said: str) -> None:
    told = run(*wrong)
    assert told.status == 2
    assert said in told.err
    assert "--help' for all that it takes" in told.err
    assert told.out == ""


def test_a_failure_is_one_sentence(run: Run, tmp_path: Path) -> None:
    told = run("status", "--data", tmp_path / "nowhere")
    assert told.status == 1
    assert told.err.startswith("ticketd: the data folder ")
    assert len(told.err.splitlines()) == 1


def test_a_wrong_setting_stops_every_command_that_reads_settings(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETD_SERVER_BIND", "nowhere")
    for command in (("status",), ("keys", "list"), ("config", "check"), ("config", "show"), ("serve",)):
        told = run(*command, "--data", data)
        assert told.status == 1
        assert 'server.bind = "nowhere" (TICKETD_SERVER_BIND)' in told.err
    assert not data.exists()


def test_a_traceback_is_shown_to_those_who_ask_for_it(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETD_DEBUG", "1")
    with pytest.raises(Exception, match="cannot be used"):
        run("status", "--data", data)


def test_version(run: Run) -> None:
    told = run("version")
    assert told.line.startswith("ticketd ")
    assert run("version", "--json").line == f'{{"version":"{told.line.split()[1]}"}}'
