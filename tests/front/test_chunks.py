"""The chunked coding: the same body however it comes in, and no other reading of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketd.front.chunks import MOST_LINE_BYTES, MOST_TRAILER_BYTES, ChunkedBody, ChunkFault

REST = b"GET / HTTP/1.1\r\n"


def feed_all(*reads: bytes) -> tuple[bytes, bytes | None]:
    """The body, and the rest behind its end; None if it has not ended. What comes behind the end is not fed."""
    chunks, body = ChunkedBody(), b""
    for number, data in enumerate(reads):
        body += chunks.feed(data)
        if chunks.ended:
            return body, chunks.rest + b"".join(reads[number + 1 :])
    assert chunks.rest == b""
    return body, None


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def outcome(*reads: bytes) -> tuple[bytes, bytes | None] | None:
    """As ``feed_all``; None for a fault."""
    try:
        return feed_all(*reads)
    except ChunkFault:
        return None


GOOD = {
    "empty": (b"0\r\n\r\n", b""),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "two": (b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", b"hello"),
    "line ends within": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    "hex in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "leading zeros": (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "an extension": (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello"),
    "an extension with a quoted end": (b'5 ; a="\xe9;\\""\r\nhello\r\n0\r\n\r\n', b"hello"),
    "a trailer": (b"5\r\nhello\r\n0\r\nX-A: 1\r\nX-B:\r\n\r\n", b"hello"),
    "16 digits": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
}
BAD = {
    "no size": b"\r\nhello",
    "no hex": b"zz\r\n",
    "negative": b"-1\r\n",
    "plus": b"+1\r\n",
    "with a prefix": b"0x1\r\n",
    "underscore": b"1_0\r\n",
    "a space before": b" 5\r\nhello\r\n",
    "a space behind": b"5 \r\nhello\r\n",
    "17 digits": b"00000000000000005\r\nhello\r\n",
    "LF ends the size": b"5\nhello\r\n0\r\n\r\n",
    "CR ends the size": b"5\rhello\r\n0\r\n\r\n",
    "CR within the size": b"5\r;\r\nhello\r\n",
    "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;\0\r\nhello\r\n",
    "longer than said": b"5\r\nhello!\r\n0\r\n\r\n",
    "shorter than said": b"5\r\nhell\r\n0\r\n\r\n",
    "LF behind a chunk": b"5\r\nhello\n0\r\n\r\n",
    "CR behind a chunk": b"5\r\nhello\r0\r\n\r\n",
    "nothing behind a chunk": b"5\r\nhello0\r\n\r\n",
    "two other bytes behind a chunk": b"5\r\nhelloxx0\r\n\r\n",
    "CR and another byte behind a chunk": b"5\r\nhello\rx0\r\n\r\n",
    "a trailer without a colon": b"0\r\nX\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX : 1\r\n\r\n",
    "a folded trailer": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "LF ends a trailer": b"0\r\nX: 1\n\r\n",
    "LF ends the body": b"0\r\n\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
    "a request in place of the trailer": b"0\r\nGET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize(("data", "body"), GOOD.values(), ids=GOOD)
def test_every_split_gives_the_same_body_and_rest(data: bytes, body: bytes) -> None:
    assert feed_all(data) == (body, b"")
    whole = data + REST
    for at in range(len(whole) + 1):
        assert feed_all(whole[:at], whole[at:]) == (body, REST)
    assert feed_all(*bytewise(whole)) == (body, REST)
    for size in range(len(data)):
        found, rest = feed_all(data[:size])
        assert body.startswith(found)
        assert rest is None


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_fault_is_one_however_it_comes_in(data: bytes) -> None:
    assert outcome(data) is None
    for at in range(len(data) + 1):
        assert outcome(data[:at], data[at:]) is None
    assert outcome(*bytewise(data)) is None


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_a_fault_stays_one_whatever_is_fed_then(data: bytes) -> None:
    chunks = ChunkedBody()
    for more in (data, data, b"0\r\n\r\n", b"", b"\r\n0\r\n\r\n"):
        with pytest.raises(ChunkFault):
            chunks.feed(more)
    assert not chunks.ended
    assert chunks.rest == b""


@pytest.mark.parametrize(("over", "is_good"), [(-1, True), (0, True), (1, False)])
class TestBounds:
    def test_of_the_line_with_a_size(self, over: int, is_good: bool) -> None:
        line = b"1;" + b"x" * (MOST_LINE_BYTES + over - 2)
        self.check(line + b"\r\na\r\n0\r\n\r\n", len(line), b"a" if is_good else None)

    def test_of_the_last_size(self, over: int, is_good: bool) -> None:
        line = b"0;" + b"x" * (MOST_LINE_BYTES + over - 2)
        self.check(line + b"\r\n\r\n", len(line), b"" if is_good else None)

    def test_of_one_trailer(self, over: int, is_good: bool) -> None:
        line = b"X:" + b"x" * (MOST_TRAILER_BYTES + over - 4)
        self.check(b"0\r\n" + line + b"\r\n\r\n", 3 + len(line), b"" if is_good else None)

    def test_of_all_trailers(self, over: int, is_good: bool) -> None:
        lines = b"X: 1\r\n" * 600
        line = b"X:" + b"x" * (MOST_TRAILER_BYTES + over - 4 - len(lines))
        self.check(b"0\r\n" + lines + line + b"\r\n\r\n", 3 + len(lines + line), b"" if is_good else None)

    def check(self, data: bytes, line_end: int, body: bytes | None) -> None:
        wanted = None if body is None else (body, REST)
        whole = data + REST
        assert outcome(whole) == wanted
        for at in range(line_end - 3, line_end + 5):
            assert outcome(whole[:at], whole[at:]) == wanted, at
        assert outcome(*bytewise(whole)) == wanted


@pytest.mark.parametrize("part", [b"1;a\rb", b"1;a\nb", b"0\r\nX: a\rb", b"1\r\nax", b"1\r\na\rx"])
def test_a_fault_is_told_before_the_line_has_ended(part: bytes) -> None:
    assert outcome(part) is None


def test_a_line_without_an_end_is_not_waited_for() -> None:
    assert outcome(b"1;" + b"x" * MOST_LINE_BYTES) is None
    assert outcome(b"0\r\nX:" + b"x" * MOST_TRAILER_BYTES) is None


def test_many_small_chunks_are_taken_with_work_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how much is copied for the chunks of one read, and of as many reads as there are bytes."""

    class Counted(bytes):
        copied = 0

        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            Counted.copied += len(found)
            return Counted(found)

    count = 10_000
    whole = b"1\r\na\r\n" * count + b"0\r\n\r\n"
    chunks = ChunkedBody()
    chunks._held = Counted()
    monkeypatch.setattr(Counted, "__add__", lambda self, other: Counted(bytes(self) + other))
    assert chunks.feed(whole) == b"a" * count
    assert chunks.ended
    assert len(whole) / 2 < Counted.copied <= len(whole)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.data())
def test_what_is_written_in_chunks_is_read(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n" + REST
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    reads = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert feed_all(*reads) == (b"".join(parts), REST)


@given(
    st.lists(
        st.sampled_from(
            [b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"X: 1", b"\0", b"0\r\n\r\n", b"1\r\na\r\n"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_whatever_comes_is_the_same_in_one_read_and_in_many(data: bytes) -> None:
    whole, single = outcome(data), outcome(*bytewise(data))
    assert whole == single
