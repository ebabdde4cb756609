"""The line of progress: redrawn on a terminal, seldom elsewhere."""

from __future__ import annotations

import io

from ticketd.rehearsal.measurements import Measurements
from ticketd.rehearsal.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_plain_lines_come_at_once_every_five_seconds_and_at_the_end() -> None:
    time, out = Time(), io.StringIO()
    notes, progress = Measurements(time), Progress(out, buyers=2)
    for second in range(11):
        time.now_s = 100.0 + second
        notes.note_answer("GET /", 0.1, 200, "")
        progress.show(notes, 0)
    progress.show(notes, 2)
    progress.finish()
    lines = out.getvalue().splitlines()
    assert [line.split(" s ")[0].strip() for line in lines] == ["0", "5", "10", "10"]
    assert lines[1].endswith("errors 0  1 req/s")
    assert "\r" not in out.getvalue()


def test_on_a_terminal_the_line_is_redrawn() -> None:
    time, out = Time(), Terminal()
    notes, progress = Measurements(time), Progress(out, buyers=2)
    notes.joined = 2
    notes.note_unanswered("GET /", "TIMEOUT")
    time.now_s += 1
    progress.show(notes, 0)
    time.now_s += 1
    progress.show(notes, 0)
    progress.finish()
    first, last = out.getvalue().split("\r\x1b[K")[1:]
    assert "joined 2/2" in first
    assert "errors 1" in last
    assert last.endswith("\n")
    assert first.count("\n") == 0
