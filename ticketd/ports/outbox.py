"""Mail into a folder: one ``.eml`` file for each message, for a person or another program to take away.

A file appears whole and durable, or not at all. Its name, ``{time}-{message_id}.eml``, sorts by the time of
writing. A message id that was written before is not written again, for as long as its file is there at the
start.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from ticketd.ports.mail import MailUnavailable, Message, Sender, compose

_MAIL_SUFFIX: Final = ".eml"
_UNFINISHED_SUFFIX: Final = ".eml.part"
_TIME_FORM: Final = "%Y%m%dT%H%M%S"


class OutboxMailer:
    """Writes into ``folder``, which is made with mode 0700 if it is not there; its parent must be. OSError if
    it cannot be.

    ``now_ms`` tells milliseconds UTC. With ``inline`` the loop waits for the disk and no thread is started,
    so that a simulation can be repeated.
    """

    def __init__(
        self, folder: Path, *, sender: Sender, now_ms: Callable[[], int], inline: bool = False
    ) -> None:
        self._folder = folder
        self._sender = sender
        self._now_ms = now_ms
        self._inline = inline
        # One at a time, or two tasks might both find the same message unwritten.
        self._turn = trio.Lock()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError:
            raise FileExistsError(f"{folder} is the folder for mails, and is none: move it away") from None
        for unfinished in folder.glob(f".*{_UNFINISHED_SUFFIX}"):
            unfinished.unlink(missing_ok=True)
        self._written = {_message_id_of(path.name) for path in folder.glob(f"*{_MAIL_SUFFIX}")}

    async def send(self, message: Message) -> None:
        """As Mailer.send. MailUnavailable if the folder takes no file."""
        now_ms = self._now_ms()
        content = compose(message, self._sender, now_ms).content
        name = f"{_time_text(now_ms)}-{message.message_id}"
        try:
            async with self._turn:
                if self._inline:
                    self._write(name, message.message_id, content)
                else:
                    await trio.to_thread.run_sync(self._write, name, message.message_id, content)
        except OSError as error:
            raise MailUnavailable(f"the outbox {self._folder} takes no file: {error}") from error

    def _write(self, name: str, message_id: str, content: bytes) -> None:
        if message_id in self._written:
            return
        unfinished = self._folder / f".{name}{_UNFINISHED_SUFFIX}"
        try:
            _write_durably(unfinished, content)
            unfinished.rename(self._folder / f"{name}{_MAIL_SUFFIX}")
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        self._written.add(message_id)
        _sync(self._folder)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _time_text(now_ms: int) -> str:
    whole = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    return f"{whole.strftime(_TIME_FORM)}.{now_ms % 1000:03}Z"


def _message_id_of(name: str) -> str:
    return name.removesuffix(_MAIL_SUFFIX).partition("-")[2]
