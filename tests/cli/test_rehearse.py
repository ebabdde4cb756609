"""Command lines of ``ticketd rehearse`` that are refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shares", "leave=60,decline=41"), "over 100"),
        (("--key", "k"), "are for a daemon that --url names"),
        (("--url", "http://127.0.0.1:1"), "--url needs --key and --event"),
        (("--url", "http://127.0.0.1:1", "--key", "k", "--event", "e", "--lobby"), "starts itself"),
        (("--url", "http://127.0.0.1:1", "--key", "k", "--event", "e", "--seats", "5"), "starts itself"),
        (("--url", "http://tickets.example", "--key", "k", "--event", "e"), "--this-server-is-mine"),
        (("--url", "http://127.0.0.1:1", "--key", "k", "--event", "e"), "CONNECTION_REFUSED"),
    ],
)
def test_what_cannot_be_rehearsed_is_told(run: Run, arguments: tuple[str, ...], said: str) -> None:
    told = run("rehearse", *arguments)
    assert (told.status, told.out) == (1, "")
    assert said in told.err


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("--buyers", ("1", "100000"), ("0", "100001", "x")),
        ("--time-limit", ("1", "86400"), ("0.9", "86401", "nan")),
        ("--connections", ("1", "20000"), ("0", "20001")),
        ("--seed", ("0", "4294967295"), ("-1", "4294967296")),
        ("--url", ("http://127.0.0.1:1",), ("ftp://x", "http://x/v1")),
    ],
)
def test_bounds_of_options(run: Run, option: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    for value in good:
        # A folder that is not empty is refused after the command line was read, before anything is started.
        told = run("rehearse", f"{option}={value}", "--data", Path(__file__).parent)
        assert told.status == 1, told.err
    for value in bad:
        assert run("rehearse", f"{option}={value}").status == 2


def test_that_no_tls_is_spoken_is_told_with_what_to_type(run: Run) -> None:
    told = run("rehearse", "--url", "https://127.0.0.1:1", "--key", "k", "--event", "e")
    assert (told.status, told.out) == (2, "")
    assert "speaks plain HTTP only" in told.err
    assert "such as http://127.0.0.1:8080" in told.err


def test_a_folder_that_is_not_empty_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    told = run("rehearse", "--data", tmp_path)
    assert told.status == 1
    assert "is not empty" in told.err
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
