from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import msgspec
import pypdf
import pytest
import zxingcpp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from storage.schema.ids import EventId, OrderId, SeatNumber, TicketId
from ticketd.tickets.barcode import Barcode
from ticketd.tickets.code import TicketCode, new_ticket_key, sign_ticket_code
from ticketd.tickets.pdf import FONT_FOLDER, TicketPage, _as_displayed, ticket_pdf

TICKET = TicketId(UUID("0198c0de-1234-7abc-8def-0123456789ab"))
CODE = sign_ticket_code(
    new_ticket_key(bytes(range(32)), 0),
    TicketCode(event_id=EventId(UUID(int=1)), ticket_id=TICKET, seat_number=SeatNumber(7), issue=1),
)
PAGE = TicketPage(
    event_name="Taylor Swift - Eras Tour",
    artist="Taylor Swift",
    venue_name="Madison Square Garden",
    venue_city="New York",
    timezone="America/New_York",
    starts_at_ms=1_818_356_400_000,  # 2027-08-15T19:00:00Z
    doors_open_ms=1_818_352_800_000,
    section="Floor",
    row="A",
    seat="17",
    order_id=OrderId(UUID("0198c0de-5678-7abc-8def-0123456789ab")),
    ticket_id=TICKET,
    barcode=Barcode("824497822899"),
    code=CODE,
    issued_at_ms=1_767_866_400_000,
)


def read(raw: bytes) -> pypdf.PageObject:
    """The one page of a ticket."""
    reader = pypdf.PdfReader(io.BytesIO(raw), strict=True)
    (page,) = reader.pages
    return page


def text_of(**changes: object) -> str:
    return read(ticket_pdf(msgspec.structs.replace(PAGE, **changes))).extract_text()


def test_the_page_says_all_of_the_ticket() -> None:
    text = text_of()
    for expected in (
        "Taylor Swift - Eras Tour",
        "Madison Square Garden, New York",
        "Sunday 15 August 2027, 15:00 EDT",
        "14:00",
        "Floor",
        "17",
        "0198c0de-5678-7abc-8def-0123456789ab",
        "0198c0de-1234-7abc-8def-0123456789ab",
        "8244 9782 2899",
    ):
        assert expected in text
    assert text.count("Taylor Swift") == 2


def test_the_page_is_of_size_a6_and_says_what_it_is() -> None:
    reader = pypdf.PdfReader(io.BytesIO(ticket_pdf(PAGE)))
    box = reader.pages[0].mediabox
    assert (round(float(box.width) * 25.4 / 72), round(float(box.height) * 25.4 / 72)) == (105, 148)
    assert reader.metadata is not None
    assert reader.metadata.title == "Taylor Swift - Eras Tour"
    assert reader.metadata.creation_date_raw == "D:20260108100000Z"


def test_the_qr_code_on_the_page_is_the_ticket_code() -> None:
    (picture,) = read(ticket_pdf(PAGE)).images
    assert picture.image is not None
    (found,) = zxingcpp.read_barcodes(picture.image.convert("L"))
    assert found.text == CODE


def test_the_bars_on_the_page_are_the_barcode() -> None:
    """Draws the black rectangles of the page as one row of pixels and has them read."""
    stream = read(ticket_pdf(PAGE)).get_contents()
    assert stream is not None
    bars = [
        (float(x), float(width))
        for x, _, width, height in re.findall(
            r"^([\d.]+) ([\d.]+) ([\d.]+) -([\d.]+) re f$", stream.get_data().decode("latin-1"), re.MULTILINE
        )
        if 31 < float(height) < 32
    ]
    assert len(bars) == 4 + 6 * 5
    row = bytearray(b"\xff" * 3000)
    for x, width in bars:
        left, right = round(x * 10), round((x + width) * 10)
        row[left:right] = bytes(right - left)
    image = memoryview(bytes(row) * 300).cast("B", (300, 3000))
    (found,) = zxingcpp.read_barcodes(image)
    assert (found.format, found.text) == (zxingcpp.BarcodeFormat.ITF, "824497822899")


def test_the_same_ticket_makes_the_same_bytes_in_any_process() -> None:
    script = (
        "import sys, hashlib; from tests.tickets.test_pdf import PAGE; from ticketd.tickets.pdf import ticket_pdf;"
        "sys.stdout.write(hashlib.sha256(ticket_pdf(PAGE)).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": "."},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )
    assert other.stdout == hashlib.sha256(ticket_pdf(PAGE)).hexdigest()


@pytest.mark.parametrize(
    "name",
    [
        "Чайковский: Щелкунчик",
        "Αθήνα Ωδείο",
        "Žižkov ąęłń Iğdır",
        "Tiếng Việt",
        "Հայաստան",
        "საქართველო",
        "Δ – “€” …",
    ],
)
def test_other_alphabets_are_printed(name: str) -> None:
    assert name in text_of(event_name=name)


def test_hebrew_is_printed_from_right_to_left() -> None:
    # Order on paper, left to right: the digits keep theirs, brackets turn.
    assert _as_displayed("שלום (2027)") == "(2027) םולש"
    assert _as_displayed("Tour שלום 1") == "Tour 1 םולש"
    assert _as_displayed("(plain)") == "(plain)"


@given(st.text(alphabet="aב ا1٣(].,+-%/\u0301", max_size=30))
def test_any_line_can_be_displayed(line: str) -> None:
    assert len(_as_displayed(line)) == len(line)


def test_characters_without_a_glyph_become_squares() -> None:
    assert "Live in □□ x" in text_of(event_name="Live in 東京 x")


LONG = {
    "event_name": "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 6,
    "artist": "The Orchestra of the Age of Enlightenment " * 6,
    "venue_name": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3,
    "venue_city": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
    "section": "W" * 200,
    "row": "W" * 200,
    "seat": "W" * 200,
    "doors_open_ms": PAGE.starts_at_ms - 86_400_000 * 3,
}


def test_long_texts_stay_on_their_page() -> None:
    raw = ticket_pdf(msgspec.structs.replace(PAGE, **LONG))
    text = read(raw).extract_text()
    assert text.count("…") == 6
    assert "Thursday 12 August" in text
    width_mm = 105
    for x, y, line, advance in _placed_lines(raw):
        assert x >= 0, line
        assert x + advance <= width_mm - 6.9, line
        assert 0 < y < 148, line


def _placed_lines(raw: bytes) -> list[tuple[float, float, str, float]]:
    """Each line printed: its left edge and baseline in mm, its text, and its width by the font's own table."""
    fonts = {
        name: ImageFont.truetype(FONT_FOLDER / f"{name}.ttf", 1000, layout_engine=ImageFont.Layout.BASIC)
        for name in ("DejaVuSans", "DejaVuSans-Bold")
    }
    lines: list[tuple[float, float, str, float]] = []

    def visit(
        text: str, _cm: object, matrix: list[float], font: dict[str, object] | None, size: float
    ) -> None:
        if not text.strip() or font is None:
            return
        face = fonts["DejaVuSans-Bold" if "Bold" in str(font["/BaseFont"]) else "DejaVuSans"]
        shown = text.strip("\n")
        # Character by character, since nothing is kerned on the page.
        advance = sum(face.getlength(character) for character in shown) / 1000 * size
        lines.append((matrix[4] * 25.4 / 72, matrix[5] * 25.4 / 72, shown, advance * 25.4 / 72))

    read(raw).extract_text(visitor_text=visit)
    assert len(lines) > 15
    return lines


_ANY_TEXT = st.text(alphabet=st.characters(codec=None), max_size=60)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_ANY_TEXT, _ANY_TEXT, _ANY_TEXT)
def test_no_text_is_too_strange_to_print(one: str, two: str, three: str) -> None:
    names = {"event_name": one, "artist": two, "venue_name": three, "venue_city": one}
    seats = {"section": two, "row": three, "seat": one}
    assert read(ticket_pdf(msgspec.structs.replace(PAGE, **names, **seats)))


def test_an_artist_is_printed_once() -> None:
    assert text_of(artist="Taylor Swift - Eras Tour").count("Eras Tour") == 1
    assert text_of(artist=None).count("Taylor Swift") == 1


@pytest.mark.parametrize(
    ("timezone", "expected"),
    [
        ("Asia/Kolkata", "Monday 16 August 2027, 00:30 IST"),
        ("UTC", "Sunday 15 August 2027, 19:00 UTC"),
        ("Nowhere/At_All", "Sunday 15 August 2027, 19:00 UTC"),
        ("../../etc/passwd", "Sunday 15 August 2027, 19:00 UTC"),
        ("", "Sunday 15 August 2027, 19:00 UTC"),
        ("America", "Sunday 15 August 2027, 19:00 UTC"),
    ],
)
def test_times_are_the_venues(timezone: str, expected: str) -> None:
    assert expected in text_of(timezone=timezone)


def test_doors_on_another_day_say_which() -> None:
    assert "DOORS" not in text_of(doors_open_ms=None)
    assert "Saturday 14" in text_of(doors_open_ms=PAGE.starts_at_ms - 86_400_000)


def test_the_fonts_are_the_ones_their_page_names() -> None:
    page = (FONT_FOLDER / "README.md").read_text()
    for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"):
        assert hashlib.sha256((FONT_FOLDER / name).read_bytes()).hexdigest() in page
