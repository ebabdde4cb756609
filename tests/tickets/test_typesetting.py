from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticketd.tickets.typesetting import MAX_TEXT_LENGTH, Box, fit, plain_text


def width_of(text: str) -> float:
    """A font in which every character is as wide as the type is large, but for the ellipsis and i."""
    return sum({"i": 0.25, "…": 0.75}.get(character, 1.0) for character in text)


def test_a_text_that_fits_is_set_in_the_largest_size() -> None:
    fitted = fit("two words", Box(width=90, lines=1, largest=10, smallest=5), width_of)
    assert (fitted.lines, fitted.size) == (("two words",), 10)


def test_a_text_is_wrapped_before_it_is_made_smaller() -> None:
    fitted = fit("two words", Box(width=50, lines=2, largest=10, smallest=5), width_of)
    assert (fitted.lines, fitted.size) == (("two", "words"), 10)


def test_a_text_is_made_smaller_before_it_is_cut() -> None:
    fitted = fit("two words", Box(width=45, lines=1, largest=10, smallest=5), width_of)
    assert (fitted.lines, fitted.size) == (("two words",), 5)


def test_a_text_that_fits_nowhere_is_cut() -> None:
    fitted = fit("two words and more", Box(width=45, lines=2, largest=10, smallest=5), width_of)
    assert (fitted.lines, fitted.size) == (("two words", "and more"), 5)
    fitted = fit("two words and more of it", Box(width=45, lines=2, largest=10, smallest=5), width_of)
    assert fitted.lines == ("two words", "and more…")


def test_a_long_word_is_broken_at_the_edge() -> None:
    fitted = fit("a incomprehensibilities", Box(width=50, lines=9, largest=5, smallest=5), width_of)
    assert fitted.lines[:2] == ("a", "incomprehe")
    assert "".join(fitted.lines) == "aincomprehensibilities"


def test_an_empty_text_is_one_empty_line() -> None:
    assert fit("", Box(width=10, lines=1, largest=5, smallest=5), width_of).lines == ("",)


@given(
    st.text(alphabet="iW x,", max_size=120).map(lambda text: " ".join(text.split())),
    st.integers(1, 4),
    st.floats(20, 60),
    st.floats(4, 18),
)
def test_nothing_ever_leaves_its_box(text: str, lines: int, width: float, largest: float) -> None:
    box = Box(width=width, lines=lines, largest=largest, smallest=4)
    fitted = fit(text, box, width_of)
    assert 1 <= len(fitted.lines) <= lines
    assert 4 <= fitted.size <= largest
    for line in fitted.lines:
        assert width_of(line) * fitted.size <= width + 1e-9 or len(line) == 1
    shown = "".join(fitted.lines).replace(" ", "")
    if shown.endswith("…"):
        assert fitted.size == 4
        assert text.replace(" ", "").startswith(shown[:-1])
    else:
        assert shown == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain", "plain"),
        ("  a\t\r\n b\u00a0c\u2028d  ", "a b c d"),
        ("a\x00b\x1bc\x85d", "a b c d"),
        ("a\u200bb\u202ec\ufeffd\u00ad", "abcd"),
        ("cafe\u0301", "café"),
        ("漢x字", "?x?"),
        ("a\ud800b", "a?b"),
        ("", ""),
        ("\n", ""),
    ],
)
def test_a_text_becomes_one_printable_line(text: str, plain: str) -> None:
    assert plain_text(text, lambda character: ord(character) < 0x3000, "?") == plain


def test_a_text_has_a_greatest_length() -> None:
    for length in (MAX_TEXT_LENGTH - 1, MAX_TEXT_LENGTH):
        assert plain_text("x" * length, str.isalpha, "?") == "x" * length
    assert plain_text("x" * (MAX_TEXT_LENGTH + 1), str.isalpha, "?") == "x" * MAX_TEXT_LENGTH
