"""What a daemon did to its store's file, and when it told its callers, read from what strace wrote of it.

The order is that of the kernel: a write counts from its beginning, since a power cut may come in the middle of it; a
sync counts from its end, since only then it has promised anything; an answer counts from the beginning of its sending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

CALLS: Final = (
    "openat,lseek,writev,write,pwrite64,pwritev,pwritev2,fdatasync,fsync,msync,ftruncate,fallocate,sendto"
)
OPTIONS: Final = ("-xx", "-s", "4000000")

_LINE: Final = re.compile(r"^\d+ +(?P<rest>.*)$")
_CALL: Final = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)$")
_RESUMED: Final = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_RESULT: Final = re.compile(r"= (-?\d+)(?: |$)")
_NUMBER_AT_END: Final = re.compile(r", (\d+)(?:\)| <unfinished)")
_WRITES: Final = frozenset({"pwrite64", "writev"})
_UNKNOWN: Final = frozenset({"write", "pwritev", "pwritev2", "msync", "ftruncate", "fallocate"})
"""Calls that LMDB does not make of its file, and that nobody has taught this reader.

It writes a page by pwrite64, and several that follow each other by lseek and writev.
"""


class Write(msgspec.Struct, frozen=True, tag=True):
    """Bytes for a place in the file. ``dsync``: they are durable once the write has ended, by how the file is open."""

    number: int
    offset: int
    data: bytes
    dsync: bool


class Synced(msgspec.Struct, frozen=True, tag=True):
    """Writes up to this number are durable (of a ``dsync`` write: that one alone)."""

    numbers: tuple[int, ...]


class Told(msgspec.Struct, frozen=True, tag=True):
    """Somebody is being told that this version of the event is committed."""

    version: int


Step = Write | Synced | Told


class UnknownTrace(Exception):
    """The trace has something that is not understood; nothing would be proved by it."""


def read_trace(trace: Path, store: Path, told: re.Pattern[bytes]) -> Iterator[Step]:
    """The steps that the trace tells of the file ``store``; ``told`` finds versions in what was sent, as group 1."""
    reader = _Reader(store, told)
    with trace.open() as lines:
        for line in lines:
            yield from reader.read(line)


class _Reader:
    """The state of reading: open files, writes that have ended, calls that have not."""

    def __init__(self, store: Path, told: re.Pattern[bytes]) -> None:
        self._store = str(store)
        self._told = told
        self._files: dict[int, bool] = {}  # descriptor of the store -> whether it was opened with O_DSYNC
        self._ended: list[int] = []  # writes that are not durable yet
        self._begun: dict[str, tuple[str, str, tuple[int, ...]]] = {}  # by thread
        self._at: dict[int, int] = {}  # by descriptor: where the next writev goes
        self._number = 0

    def read(self, line: str) -> Iterator[Step]:
        found = _LINE.match(line)
        if found is None:
            return
        thread, rest = line.split(" ", 1)[0], found["rest"]
        if _RESUMED.match(rest):
            yield from self._end(*self._begun.pop(thread, ("", "", ())), rest)
            return
        call = _CALL.match(rest)
        if call is None:
            return  # a signal, or the end of a thread
        name, arguments = call["name"], call["arguments"]
        concerns: tuple[int, ...] = ()
        for step in self._begin(name, arguments):
            concerns = (step.number,) if isinstance(step, Write) else concerns
            yield step
        if name in {"fdatasync", "fsync"}:
            concerns = tuple(self._ended)
        if rest.rstrip().endswith("<unfinished ...>"):
            self._begun[thread] = (name, arguments, concerns)
        else:
            yield from self._end(name, arguments, concerns, rest)

    def _begin(self, name: str, arguments: str) -> Iterator[Step]:
        if name == "sendto":
            for version in self._told.findall(b"".join(_texts(arguments))):
                yield Told(int(version))
        elif name in _WRITES and (descriptor := _descriptor(arguments)) in self._files:
            data = b"".join(_texts(arguments))
            if name == "writev":
                offset = self._at[descriptor]
                self._at[descriptor] += len(data)
            else:
                offset = _offset_of(arguments)
            self._number += 1
            yield Write(self._number, offset, data, self._files[descriptor])
        elif name in _UNKNOWN and _descriptor(arguments) in self._files:
            raise UnknownTrace(f"{name} of the store's file")

    def _end(self, name: str, arguments: str, concerns: Sequence[int], rest: str) -> Iterator[Step]:
        results = _RESULT.findall(rest)
        result = int(results[-1]) if results else -1
        if name == "openat" and result >= 0:
            self._files.pop(result, None)
            if b"".join(_texts(arguments)).decode(errors="replace") == self._store:
                self._files[result] = "O_DSYNC" in arguments or "O_SYNC" in arguments
        elif name == "lseek":
            self._at[_descriptor(arguments)] = result
        elif name in _WRITES and concerns:
            if self._files.get(_descriptor(arguments)):
                yield Synced(tuple(concerns))
            else:
                self._ended += concerns
        elif name in {"fdatasync", "fsync"} and _descriptor(arguments) in self._files and result == 0:
            self._ended = [number for number in self._ended if number not in set(concerns)]
            yield Synced(tuple(concerns))


def _descriptor(arguments: str) -> int:
    digits = re.match(r"\d+", arguments)
    return -1 if digits is None else int(digits[0])


def _offset_of(arguments: str) -> int:
    found = _NUMBER_AT_END.findall(arguments)
    if not found:
        raise UnknownTrace(arguments[-200:])
    return int(found[-1])


def _texts(arguments: str) -> Iterator[bytes]:
    for text, cut in _TEXT.findall(arguments):
        if cut:
            raise UnknownTrace("a text was cut off")
        yield bytes.fromhex(text.replace("\\x", ""))
