"""Mail into a folder: whole, durable, once."""

from __future__ import annotations

import email
import os
import stat
from email.policy import default
from pathlib import Path

import pytest
import trio

from tests.ports.test_mail import SENDER, message
from ticketd.ports.mail import Mailer, MailRefused, MailUnavailable
from ticketd.ports.outbox import OutboxMailer

FIRST_MS = 1_767_866_700_007


class Minutes:
    """A clock that goes on by a minute each time it is read."""

    def __init__(self, first_ms: int) -> None:
        self.now_ms = first_ms - 60_000

    def __call__(self) -> int:
        self.now_ms += 60_000
        return self.now_ms


@pytest.fixture(params=[False, True], ids=["thread", "inline"])
def inline(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def open_outbox(folder: Path, *, inline: bool = False, first_ms: int = FIRST_MS) -> OutboxMailer:
    return OutboxMailer(folder, sender=SENDER, now_ms=Minutes(first_ms), inline=inline)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_each_message_is_a_file_of_its_own(tmp_path: Path, inline: bool) -> None:
    folder = tmp_path / "outbox"
    mailer: Mailer = open_outbox(folder, inline=inline)
    await mailer.send(message(message_id="b-2", to_name="Zoë"))
    await mailer.send(message(message_id="a-1"))
    assert names(folder) == ["20260108T100500.007Z-b-2.eml", "20260108T100600.007Z-a-1.eml"]
    first = folder / names(folder)[0]
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    mail = email.message_from_bytes(first.read_bytes(), policy=default)
    assert str(mail["to"]) == "Zoë <ada@example.com>"
    assert mail.get_content() == "Hello\r\n"


async def test_the_same_message_is_written_once_also_after_a_restart(tmp_path: Path, inline: bool) -> None:
    folder = tmp_path / "outbox"
    mailer = open_outbox(folder, inline=inline)
    for _ in range(2):
        await mailer.send(message(message_id="a-1"))
    again = open_outbox(folder, inline=inline, first_ms=FIRST_MS + 3_600_000)
    await again.send(message(message_id="a-1"))
    assert len(names(folder)) == 1
    await again.send(message(message_id="1"))
    assert len(names(folder)) == 2


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "outbox").touch()
    with pytest.raises(FileExistsError) as refused:
        open_outbox(tmp_path / "outbox")
    assert str(refused.value) == f"{tmp_path / 'outbox'} is the folder for mails, and is none: move it away"


async def test_two_at_the_same_time_write_once(tmp_path: Path) -> None:
    mailer = open_outbox(tmp_path / "outbox")
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(mailer.send, message(message_id="a-1"))
    assert len(names(tmp_path / "outbox")) == 1


async def test_a_refused_message_leaves_nothing(tmp_path: Path) -> None:
    mailer = open_outbox(tmp_path / "outbox")
    for sent in (message(to="nobody"), message(message_id="../../etc/x"), message(to_name="a\nBcc: b")):
        with pytest.raises(MailRefused):
            await mailer.send(sent)
    assert names(tmp_path / "outbox") == []
    assert names(tmp_path) == ["outbox"]


async def test_what_a_crash_left_unfinished_is_cleared_and_can_be_sent(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / ".20260108T100200.000Z-a-1.eml.part").write_bytes(b"From: The Ven")
    (folder / "notes.txt").write_text("somebody's own")
    mailer = open_outbox(folder)
    await mailer.send(message(message_id="a-1"))
    assert names(folder) == ["20260108T100500.007Z-a-1.eml", "notes.txt"]


@pytest.mark.parametrize("step", ["fsync", "rename"])
async def test_a_disk_that_fails_is_for_now_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "outbox"
    mailer = open_outbox(folder)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as faulty:
        faulty.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "rename", fail)))
        with pytest.raises(MailUnavailable, match="No space left"):
            await mailer.send(message(message_id="a-1"))
    assert names(folder) == []
    await mailer.send(message(message_id="a-1"))
    assert len(names(folder)) == 1


async def test_a_folder_that_is_gone_is_for_now(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    mailer = open_outbox(folder)
    folder.rmdir()
    with pytest.raises(MailUnavailable, match="outbox"):
        await mailer.send(message())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_outbox(tmp_path / "missing" / "outbox")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        open_outbox(tmp_path / "file")
