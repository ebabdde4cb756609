"""Text made to fit a box of a page: wrapped, then set smaller, and only then cut, with an ellipsis.

It knows of a font nothing but how wide a character is. Where the boxes are is for ``pdf``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Final

import msgspec

MAX_TEXT_LENGTH: Final = 400
"""What is longer cannot fit a ticket at any size, and is cut before it costs time."""

_ELLIPSIS: Final = "…"
_STEP_POINTS: Final = 0.5


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """Room for a text: its width, how many lines, and its sizes in points from the one wished for to the
    least."""

    width: float
    lines: int
    largest: float
    smallest: float


class FittedText(msgspec.Struct, frozen=True):
    """Lines that fit their box when set in ``size`` points."""

    lines: tuple[str, ...]
    size: float


def plain_text(text: str, has_glyph: Callable[[str], bool], missing: str) -> str:
    """``text`` in one line and in characters that can be printed.

    Runs of white space and control characters become one space, invisible format characters vanish, and a
    character without a glyph becomes ``missing``. Characters are composed first (NFC), since more composed
    ones have glyphs.
    """
    kept: list[str] = []
    for character in unicodedata.normalize("NFC", text[:MAX_TEXT_LENGTH]):
        category = unicodedata.category(character)
        if character.isspace() or category == "Cc":
            kept.append(" ")
        elif category != "Cf":
            kept.append(character if has_glyph(character) else missing)
    return " ".join("".join(kept).split())


def fit(text: str, box: Box, width_of: Callable[[str], float]) -> FittedText:
    """The lines of a text in the largest size at which they fit ``box``.

    ``width_of`` gives the width of a text at a size of one point, in the unit of ``box.width``.
    """
    size = box.largest
    while True:
        lines = _wrap(text, box.width / size, width_of)
        if len(lines) <= box.lines:
            return FittedText(tuple(lines), size)
        if size <= box.smallest:
            break
        size = max(box.smallest, size - _STEP_POINTS)
    last = _cut(" ".join(lines[box.lines - 1 :]), box.width / size, width_of)
    return FittedText((*lines[: box.lines - 1], last), size)


def _wrap(text: str, width: float, width_of: Callable[[str], float]) -> list[str]:
    """Lines of whole words where a word fits a line, of pieces of a word where it does not."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width_of(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, width, width_of)
        lines += whole
    return [*lines, line]


def _pieces(word: str, width: float, width_of: Callable[[str], float]) -> list[str]:
    """A word in pieces of at least a character that fit; the last one is the rest."""
    pieces: list[str] = []
    piece = ""
    for character in word:
        if piece and width_of(piece + character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _cut(text: str, width: float, width_of: Callable[[str], float]) -> str:
    """As much of a text as fits with an ellipsis behind it."""
    kept = text
    while kept and width_of(kept + _ELLIPSIS) > width:
        kept = kept[:-1]
    return kept.rstrip() + _ELLIPSIS
