"""Bytes that are JSON, and bytes that are not quite."""

from __future__ import annotations

import json

import pytest

from tests.event_file.samples import FULL, encoded, parsed
from ticketd.event_file.bounds import MAX_FILE_BYTES
from ticketd.event_file.faults import EventFileInvalid
from ticketd.event_file.parse import parse_event_file


def told(data: bytes) -> list[str]:
    with pytest.raises(EventFileInvalid) as caught:
        parse_event_file(data)
    return [str(fault) for fault in caught.value.faults]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_event_file(b"\xef\xbb\xbf" + encoded(FULL)) == parsed(FULL)


def test_text_need_not_be_escaped() -> None:
    assert parse_event_file(json.dumps(FULL, ensure_ascii=False).encode()) == parsed(FULL)


def test_a_file_of_the_largest_size_is_read() -> None:
    data = encoded(FULL)
    assert parse_event_file(data + b" " * (MAX_FILE_BYTES - len(data))) == parsed(FULL)


def test_a_larger_file_is_refused_unread() -> None:
    assert told(b" " * (MAX_FILE_BYTES + 1)) == ["file: is 16777217 bytes long; at most 16777216 are read"]


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "line 1 column 1: is not JSON"),
        (b"{", "line 1 column 2: is not JSON"),
        (b'{\n  "name": "x",\n  oops\n}', "line 3 column 3: is not JSON"),
        (b'{"name": "a\nb"}', "line 1 column 12: is not JSON"),
        (b'{"name": "x"} x', "line 1 column 15: is not JSON"),
        (b"{\n\n'name': 1}", "line 3 column 1: is not JSON"),
        (b'{"name": "\\ud8"}', "line 1 column 12: is not JSON"),
        (b'{"a": 01}', "line 1 column 8: is not JSON"),
        (b'{\n"name": "\xff"}', "line 2 column 10: is not UTF-8"),
        (b'{"name": "\xed\xa0\x80"}', "line 1 column 11: is not UTF-8"),
        ('{"name": "x"}'.encode("utf-16"), "line 1 column 1: is not UTF-8"),
        (b'{"name": NaN}', "file: is not JSON: NaN is not a number of JSON"),
        (b'{"name": -Infinity}', "file: is not JSON: -Infinity is not a number of JSON"),
        (b"[" * 100_000, "file: is nested too deeply to be read"),
        (b'{"name":' * 100_000, "file: is nested too deeply to be read"),
    ],
)
def test_what_is_no_json_is_told_alone_with_line_and_column(data: bytes, where: str) -> None:
    (line,) = told(data)
    assert line.startswith(where)


def test_repeated_names_are_told_with_their_places() -> None:
    text = encoded(FULL).decode()
    text = text.replace('"city": "Z', '"city": "Bern", "odd one": 1, "odd one": 2, "city": "Z')
    text = text.replace('{"row": "A"', '{"row": "X", "row": "Y", "row": "A"').replace("{", '{"name": "x",', 1)
    assert told(text.encode()) == [
        "name: is repeated in its object",
        "venue.city: is repeated in its object",
        'venue["odd one"]: is repeated in its object',
        "sections[0].rows[0].row: is repeated in its object",
        "sections[1].rows[0].row: is repeated in its object",
        'venue["odd one"]: is not a field of the event file',
    ]


def test_a_name_is_repeated_too_where_nothing_else_is_looked_at() -> None:
    assert told(b'{"x": [[], {"y": {"z": 1, "z": 2}}]}')[0] == "x[1].y.z: is repeated in its object"


def test_the_longest_number_is_no_trouble() -> None:
    data = encoded(FULL).replace(b'"purchase_limit": 6', b'"purchase_limit": ' + b"9" * 1_000_000)
    assert told(data) == ["purchase_limit: must be 1 to 1000"]
    data = encoded(FULL).replace(b'"purchase_limit": 6', b'"purchase_limit": -' + b"9" * 1_000_000)
    assert told(data) == ["purchase_limit: must be 1 to 1000"]


def test_a_name_as_long_as_the_file_is_cut() -> None:
    (line,) = [line for line in told(b'{"' + b"n" * 100_000 + b'": 1}') if "not a field" in line]
    assert len(line) < 200
    (line,) = [
        line
        for line in told(b'{"' + b"n" * 9_000 + b'": 1, "' + b"n" * 9_000 + b'": 2}')
        if "repeated" in line
    ]
    assert len(line) < 200


def test_a_name_that_cannot_be_printed_is_escaped() -> None:
    assert told(b'{"\\ud800": 1}')[0] == '["\\ud800"]: is not a field of the event file'
