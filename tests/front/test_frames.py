"""Frames without a socket: what is made, what is read, and where the bounds are."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from tests.front.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
    frame_header,
)
from ticketd.front.frames import (
    MAX_FRAGMENTS,
    Closed,
    Fault,
    Frames,
    Incoming,
    Pinged,
    Ponged,
    Text,
    close_frame,
    text_frame,
)

LARGEST = 4096


def read(sent: bytes, step: int | None = None) -> list[Incoming]:
    """What a server reads of it, ``step`` bytes at a time."""
    frames = Frames(LARGEST)
    found: list[Incoming] = []
    for start in range(0, len(sent), step or len(sent)):
        found += frames.feed(sent[start : start + (step or len(sent))])
        if found and isinstance(found[-1], Closed | Fault):
            break
    return found


def fault_code(sent: bytes) -> int:
    last = read(sent)[-1]
    assert isinstance(last, Fault)
    assert last == read(sent, 1)[-1]
    assert 0 < len(last.reason.encode()) <= 123
    return last.code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_text_frame_is_the_shortest_form(size: int) -> None:
    found = text_frame(b"x" * size)
    assert found == frame(TEXT, b"x" * size, masked=False)


@pytest.mark.parametrize("step", [None, 1, 3])
@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (frame(TEXT), [Text("")]),
        (frame(TEXT, "é€😀".encode()), [Text("é€😀")]),
        (frame(TEXT, b"a" * LARGEST), [Text("a" * LARGEST)]),
        (frame(TEXT, b"a") + frame(TEXT, b"b"), [Text("a"), Text("b")]),
        (
            frame(TEXT, b"\xe2", fin=False)
            + frame(CONTINUATION, fin=False)
            + frame(CONTINUATION, b"\x82\xac"),
            [Text("€")],
        ),
        (
            frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(PONG) + frame(CONTINUATION, b"b"),
            [Pinged(b"p"), Ponged(b""), Text("ab")],
        ),
        (frame(PING, b"p" * 125), [Pinged(b"p" * 125)]),
        (frame(CLOSE), [Closed(1005)]),
        (frame(CLOSE, close_payload(1000, b"bye")) + b"\xff" * 9, [Closed(1000)]),
        (frame(CLOSE, close_payload(4999, b"b" * 123)), [Closed(4999)]),
    ],
)
def test_what_is_read(sent: bytes, found: list[Incoming], step: int | None) -> None:
    assert read(sent, step) == found


MALFORMED = {
    "unmasked": frame(TEXT, b"a", masked=False),
    "reserved bit 1": frame(TEXT, b"a", rsv=4),
    "reserved bit 2": frame(TEXT, b"a", rsv=2),
    "reserved bit 3": frame(TEXT, b"a", rsv=1),
    "reserved bit of a ping": frame(PING, rsv=4),
    "opcode 3": frame(3),
    "opcode 11": frame(11),
    "ping in fragments": frame(PING, fin=False),
    "close in fragments": frame(CLOSE, fin=False),
    "ping of 126 bytes": frame(PING, b"p" * 126),
    "continuation of nothing": frame(CONTINUATION, b"a"),
    "continuation after the end": frame(TEXT, b"a") + frame(CONTINUATION, b"b"),
    "text within text": frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    "binary within text": frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"),
    "length in a longer form": b"\x81\xfe\x00\x05" + bytes(9),
    "length in the longest form": b"\x81\xff" + (5).to_bytes(8, "big") + bytes(9),
    "length with its highest bit": b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(9),
    "close of one byte": frame(CLOSE, b"\x03"),
    "close with 999": frame(CLOSE, close_payload(999)),
    "close with 1005": frame(CLOSE, close_payload(1005)),
    "close with 1006": frame(CLOSE, close_payload(1006)),
    "close with 1015": frame(CLOSE, close_payload(1015)),
    "close with 2999": frame(CLOSE, close_payload(2999)),
    "close with 5000": frame(CLOSE, close_payload(5000)),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_is_1002(sent: bytes) -> None:
    assert fault_code(sent) == 1002


@pytest.mark.parametrize(
    "sent",
    [
        frame(TEXT, b"\xff"),
        frame(TEXT, b"\xe2\x82"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"a"),
        frame(CLOSE, close_payload(1000, b"\xff")),
    ],
)
def test_what_is_no_utf8_is_1007(sent: bytes) -> None:
    assert fault_code(sent) == 1007


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (frame_header(TEXT, LARGEST + 1), 1009),
        (frame_header(TEXT, 1 << 40), 1009),
        (frame_header(BINARY, 0), 1003),
        (frame_header(BINARY, 1 << 40), 1003),
        (frame(TEXT, b"a" * LARGEST, fin=False) + frame_header(CONTINUATION, 1, fin=False), 1009),
    ],
)
def test_bounds_are_judged_by_the_header_alone(header: bytes, code: int) -> None:
    assert fault_code(header) == code


@pytest.mark.parametrize(("over", "found"), [(-1, Text), (0, Text), (1, Fault)])
def test_largest_message_over_its_fragments(over: int, found: type) -> None:
    first, second = b"a" * 1000, b"b" * (LARGEST - 1000 + over)
    last = read(frame(TEXT, first, fin=False) + frame(PING) + frame(CONTINUATION, second))[-1]
    assert type(last) is found
    assert not isinstance(last, Fault) or last.code == 1009


@pytest.mark.parametrize(
    ("count", "found"), [(MAX_FRAGMENTS - 1, Text), (MAX_FRAGMENTS, Text), (MAX_FRAGMENTS + 1, Fault)]
)
@pytest.mark.parametrize("piece", [b"", b"a"])
def test_most_fragments_of_a_message(count: int, found: type, piece: bytes) -> None:
    middle = frame(CONTINUATION, piece, fin=False) * (count - 2)
    last = read(frame(TEXT, piece, fin=False) + middle + frame(CONTINUATION, piece))[-1]
    assert type(last) is found
    assert not isinstance(last, Fault) or last.code == 1008


def test_bounds_begin_anew_with_each_message() -> None:
    message = frame(TEXT, b"a" * 2000, fin=False) + frame(CONTINUATION, b"b" * 2000)
    assert read(message * 100) == [Text("a" * 2000 + "b" * 2000)] * 100


def test_whether_a_message_has_begun() -> None:
    frames = Frames(LARGEST)
    seen = []
    for sent in (b"", frame(PING), frame(TEXT, b"a", fin=False), frame(PING), frame(CONTINUATION, b"b")):
        list(frames.feed(sent))
        seen.append(frames.within_message)
    assert seen == [False, False, True, True, False]


def test_close_after_a_close_says_the_same_or_nothing() -> None:
    for payload, code in ((close_payload(3000), 3000), (b"", 1005)):
        frames = Frames(LARGEST)
        assert list(frames.feed(frame(CLOSE, payload))) == [Closed(code)]
        assert close_frame(code) == frame(CLOSE, payload, masked=False)


def test_reason_too_long_is_cut_between_letters() -> None:
    found = close_frame(1008, "é" * 70)
    assert found == frame(CLOSE, close_payload(1008, "é".encode() * 61), masked=False)


class Oracle:
    """What wsproto reads, in our words. It knows no bounds, and finds bad UTF-8 before the message's end."""

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._text = ""

    def read(self, sent: bytes) -> list[Incoming]:
        found: list[Incoming] = []
        self._connection.receive_data(sent)
        for event in self._connection.events():
            match event:
                case TextMessage():
                    self._text += event.data
                    if event.message_finished:
                        found.append(Text(self._text))
                        self._text = ""
                case Ping():
                    found.append(Pinged(bytes(event.payload)))
                case Pong():
                    found.append(Ponged(bytes(event.payload)))
                case CloseConnection() if self._connection.state is ConnectionState.OPEN:
                    return [*found, Fault(event.code, "")]
                case CloseConnection():
                    return [*found, Closed(event.code)]
        return found


def random_frames(chance: random.Random) -> bytes:
    """Frames, most of which are good; some messages in fragments, some bytes spoiled."""
    sent = bytearray()
    for _ in range(chance.randint(1, 12)):
        text = "".join(chance.choices("aé€😀", k=chance.choice((0, 1, 5, 31, 60, 100)))).encode()
        match chance.randrange(6):
            case 0:
                sent += frame(chance.choice((PING, PONG)), text[:125])
            case 1:
                cut = chance.randint(0, len(text))
                sent += (
                    frame(TEXT, text[:cut], fin=False) + frame(PING, b"p") + frame(CONTINUATION, text[cut:])
                )
            case 2 if chance.random() < 0.3:
                payload = chance.randrange(990, 5010).to_bytes(2, "big") + text[:100]
                sent += frame(CLOSE, payload[: chance.choice((0, 1, 2, len(payload)))])
            case _:
                sent += frame(TEXT, text)
    if chance.random() < 0.5:
        sent[chance.randrange(len(sent))] ^= 1 << chance.randrange(8)
    return bytes(sent)


def test_what_is_read_is_what_another_reader_reads() -> None:
    kinds: Counter[type] = Counter()
    for seed in range(1500):
        chance = random.Random(seed)
        sent = random_frames(chance)
        ours, theirs = read(sent, chance.choice((None, 1, 7))), Oracle().read(sent)
        last = theirs[-1] if theirs else None
        if isinstance(last, Fault):
            # Which of two faults comes first may differ, and so where bad UTF-8 is noticed.
            theirs.pop()
            assert ours[: len(theirs)] == theirs, seed
            if last.code != 1007 and len(ours) > len(theirs):
                assert isinstance(ours[-1], Fault), seed
        elif ours != theirs:
            # Ours has bounds, and reads no binary.
            assert isinstance(ours[-1], Fault), seed
            assert ours[-1].code in {1003, 1009}, seed
        kinds.update(type(one) for one in ours)
    assert all(kinds[kind] > 50 for kind in (Text, Pinged, Ponged, Closed, Fault)), kinds
