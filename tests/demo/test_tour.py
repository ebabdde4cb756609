"""The tour as a text. That it runs is tested against a real daemon, in ``tests/e2e``."""

from __future__ import annotations

from pathlib import Path

from ticketd.demo.tour import tour_text

README = Path(__file__).resolve().parents[2] / "README.md"


def test_address_key_and_outbox_are_filled_in() -> None:
    text = tour_text("https://tickets.example", "tk_the_key", "/var/lib/ticketd/outbox")
    assert "URL=https://tickets.example; KEY=tk_the_key;" in text
    assert "is a file in /var/lib/ticketd/outbox\n" in text
    assert "@URL@" not in text
    assert "@KEY@" not in text
    assert "@OUTBOX@" not in text


def test_every_command_is_a_line_of_its_own() -> None:
    for line in tour_text("u", "k", "o").splitlines():
        assert not line.endswith("\\")
        assert line.count("'") % 2 == 0 or line.startswith("#"), line


def test_the_readme_shows_the_same_tour() -> None:
    here = tour_text("http://127.0.0.1:8080", "$(cat ticketd-demo/demo-api-key)", "ticketd-demo/outbox")
    assert f"```bash\n{here}\n```" in README.read_text()
