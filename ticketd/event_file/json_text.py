"""From bytes to a JSON document, stricter than the standard library's reader (RFC 8259, with the advice of RFC 7493).

Refused: a file over the bound, bytes that are not UTF-8, broken syntax, NaN and Infinity, nesting too deep to read, and
a name repeated within an object. A byte order mark at the start is passed over. What the document means is not asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final, NoReturn

from ticketd.event_file.bounds import MAX_FILE_BYTES
from ticketd.event_file.faults import Faults, path_step

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MOST_DIGITS: Final = 30
_OUT_OF_ALL_RANGES: Final = 10**_MOST_DIGITS


class JsonObject(dict[str, object]):
    """An object as read, with the names that stood in it more than once."""

    repeated: tuple[str, ...] = ()


class _Reading:
    """The hooks of one reading."""

    def __init__(self) -> None:
        self.has_repeated = False

    def make_object(self, pairs: list[tuple[str, object]]) -> JsonObject:
        made = JsonObject(pairs)
        if len(made) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            made.repeated = tuple(name for name, count in counts.items() if count > 1)
            self.has_repeated = True
        return made


def read_json(data: bytes, faults: Faults) -> object:
    """The document in ``data``; None, with a fault noted, if there is none to speak of.

    Repeated names are noted with their places, and the document is returned all the same.
    """
    if len(data) > MAX_FILE_BYTES:
        faults.add("", f"is {len(data)} bytes long; at most {MAX_FILE_BYTES} are read")
        return None
    body = data.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        before = body[: error.start].decode("utf-8")
        faults.add(_place(before, len(before)), "is not UTF-8")
        return None
    reading = _Reading()
    try:
        document: object = json.loads(
            text,
            object_pairs_hook=reading.make_object,
            parse_int=_whole_number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        faults.add(_place(text, error.pos), f"is not JSON: {error.msg}")
        return None
    except RecursionError:
        faults.add("", "is nested too deeply to be read")
        return None
    except _NotANumber as error:
        faults.add("", f"is not JSON: {error} is not a number of JSON")
        return None
    if reading.has_repeated:
        _note_repeated(document, faults)
    return document


class _NotANumber(ValueError):
    """NaN, Infinity or -Infinity stood where JSON wants a value."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotANumber(name)


def _whole_number(digits: str) -> int:
    # int() of a very long text is slow, and refused by Python itself past 4,300 digits; no field wants one.
    return int(digits) if len(digits) <= _MOST_DIGITS else _OUT_OF_ALL_RANGES


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"line {line} column {column}"


_Step = tuple[str, object]


def _note_repeated(document: object, faults: Faults) -> None:
    """Notes every repeated name with its place, in the order of the file; its memory grows with the depth alone."""
    steps: list[Iterator[_Step]] = [iter([("", document)])]
    path: list[str] = []
    while steps:
        step = next(steps[-1], None)
        if step is None:
            steps.pop()
            if path:
                path.pop()
            continue
        name, value = step
        path.append(name)
        if isinstance(value, JsonObject) and value.repeated:
            for repeated in value.repeated:
                faults.add(
                    ("".join(path) + path_step(repeated)).removeprefix("."), "is repeated in its object"
                )
        steps.append(_steps_into(value))


def _steps_into(value: object) -> Iterator[_Step]:
    """The objects and lists within an object or a list, each with the step that leads there."""
    if isinstance(value, JsonObject):
        for name, member in value.items():
            if isinstance(member, JsonObject | list):
                yield path_step(name), member
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, JsonObject | list):
                yield f"[{index}]", item
