"""What must hold of the readers of bytes holds of what they are made for, and of 300 things that are nearly that."""

from __future__ import annotations

import random

import pytest

from tests.ladder import front_targets
from tests.ladder.front_targets import SAMPLES, TARGETS, check_chunks, check_frames, check_head
from tests.ladder.fuzz.parsers import nearly
from ticketd.front.chunks import MOST_LINE_BYTES, MOST_TRAILER_BYTES
from ticketd.front.frames import Closed
from ticketd.front.heads import Head, read_head


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_keeps_its_word(name: str) -> None:
    for sample in SAMPLES[name]:
        TARGETS[name](sample)
    for seed in range(300):
        TARGETS[name](nearly(random.Random(seed), name))


def test_samples_of_heads_are_read() -> None:
    assert all(isinstance(read_head(sample), Head) for sample in SAMPLES["head"])


def test_a_reader_that_sees_another_body_than_h11_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ticketd.front.heads._body_bytes", lambda *_: 0)
    with pytest.raises(AssertionError, match="h11 sees a body"):
        check_head(SAMPLES["head"][1])


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_size_line_at_the_bound_is_the_same_however_it_is_cut(more: int) -> None:
    line = b"5;" + b"x" * (MOST_LINE_BYTES - 2 + more)
    check_chunks(line + b"\r\nhello\r\n0\r\n\r\n")
    trailer = b"A:" + b"x" * (MOST_TRAILER_BYTES - 2 + more)
    check_chunks(b"0\r\n" + trailer + b"\r\n\r\n")


def test_a_reader_of_chunks_that_depends_on_the_cuts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_targets, "_read_chunks", lambda pieces: (b"", True, b"")[: len(pieces)])
    with pytest.raises(AssertionError):
        check_chunks(b"5\r\nhello\r\n0\r\n\r\n")


def test_frames_that_go_on_behind_a_close_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Closed(1000)
    monkeypatch.setattr(front_targets, "_read_frames", lambda _: [closed, closed])
    with pytest.raises(AssertionError):
        check_frames(b"")
