"""Answers as the bytes that go on the wire. What they say is not decided here."""

from __future__ import annotations

import email.utils
import http
import time
from collections.abc import Iterable
from typing import Final

from handlers.call import Reply

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus
}
BODILESS: Final = frozenset({204, 304})


class _Date:
    """The Date header of this second."""

    __slots__ = ("_second", "text")

    def __init__(self) -> None:
        self._second = 0
        self.text = ""

    def line(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.text = f"date: {email.utils.formatdate(second, usegmt=True)}\r\n"
        return self.text


_date: Final = _Date()


class UnsafeHeader(ValueError):
    """A header would have ended its line: whoever made it must not have put a stranger's words in."""


def status_line(status: int) -> str:
    """``HTTP/1.1 200 OK`` and the end of the line."""
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"


def reply_head(reply: Reply, *, closes: bool) -> bytes:
    """Status line and headers of a reply, to the empty line. ``closes``: nothing follows on this connection.

    Raises UnsafeHeader.
    """
    text = "\r\n".join([*map(": ".join, reply.headers), ""])
    lines = len(reply.headers)
    if reply.status not in BODILESS:
        if reply.content_type:
            text += f"content-type: {reply.content_type}\r\ncontent-length: {len(reply.body)}\r\n"
            lines += 2
        else:
            text += f"content-length: {len(reply.body)}\r\n"
            lines += 1
    if text.count("\n") != lines or text.count("\r") != lines:
        raise UnsafeHeader
    end = "connection: close\r\n" if closes else ""
    return f"{status_line(reply.status)}{text}{end}{_date.line()}\r\n".encode("latin-1")


def app_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Status line and headers as an ASGI app gave them, to the empty line. Raises UnsafeHeader."""
    lines = [b"%b: %b\r\n" % (name, value) for name, value in headers]
    text = b"".join(lines)
    if text.count(b"\n") != len(lines) or text.count(b"\r") != len(lines):
        raise UnsafeHeader
    return b"%b%b%b\r\n" % (status_line(status).encode("ascii"), text, _date.line().encode("ascii"))
