"""The printed ticket: one page of A6 in portrait, always the same bytes for the same ticket.

Whatever the names are, the page stays one page and every text within its box. Texts are set in DejaVu Sans
(``fonts/``), which has the European alphabets and Hebrew, and Arabic letters in their isolated forms; a
character it lacks is printed as a white square. Making a page takes about a tenth of a second of CPU: call it
from a worker thread. What the ticket says is the caller's.
"""

from __future__ import annotations

import datetime
import io
import unicodedata
import zoneinfo
from pathlib import Path
from typing import Final

import fpdf
import msgspec
from fpdf.bidi import BidiParagraph
from fpdf.fonts import TTFFont

from storage.schema.ids import OrderId, TicketId
from ticketd.tickets.barcode import BARCODE_LENGTH, Barcode
from ticketd.tickets.qr import qr_png
from ticketd.tickets.typesetting import Box, fit, plain_text

FONT_FOLDER: Final = Path(__file__).parent / "fonts"

_WIDTH_MM: Final = 105.0
_HEIGHT_MM: Final = 148.0
_MARGIN_MM: Final = 7.0
_INNER_MM: Final = _WIDTH_MM - 2 * _MARGIN_MM
_BAND_MM: Final = 34.0
_MM_PER_POINT: Final = 25.4 / 72
_LINE_HEIGHT: Final = 1.2
"""Of the size of the type."""

_FAMILY: Final = "DejaVu"
_MISSING: Final = "\u25a1"
_RIGHT_TO_LEFT: Final = frozenset({"R", "AL"})
_MIRRORED: Final = dict(zip("()[]{}<>«»", ")(][}{><»«", strict=True))
_INK: Final = (17, 24, 39)
_GREY: Final = (95, 102, 115)
_WHITE: Final = (255, 255, 255)
_LINE_GREY: Final = (205, 209, 216)

_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class TicketPage(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed on a ticket.

    ``timezone`` is the venue's, by its IANA name; if it is unknown to this machine, times are printed in UTC.
    ``code`` is the text of the QR code. ``issued_at_ms`` becomes the document's date. Times are 1970 to 9998.
    """

    event_name: str
    artist: str | None
    venue_name: str
    venue_city: str
    timezone: str
    starts_at_ms: int
    doors_open_ms: int | None
    section: str
    row: str
    seat: str
    order_id: OrderId
    ticket_id: TicketId
    barcode: Barcode
    code: str
    issued_at_ms: int


class _Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a text stands: its left and upper edge in mm, and how it looks."""

    x: float
    y: float
    box: Box
    bold: bool = False
    centred: bool = False
    colour: tuple[int, int, int] = _INK


def ticket_pdf(page: TicketPage) -> bytes:
    """The PDF of a ticket, one page of 105 × 148 mm, about 20 KB."""
    sheet = _Sheet(page.issued_at_ms, page.event_name)
    _print_heading(sheet, page)
    _print_venue_and_time(sheet, page)
    _print_seat(sheet, page)
    _print_codes(sheet, page)
    return sheet.finished()


class _Sheet:
    """The page while it is being drawn. Edges and sizes in mm, sizes of type in points."""

    def __init__(self, dated_ms: int, title: str) -> None:
        self._pdf = fpdf.FPDF(format=(_WIDTH_MM, _HEIGHT_MM))
        self._pdf.set_auto_page_break(False)
        self._pdf.set_creation_date(_moment(dated_ms))
        self._pdf.add_font(_FAMILY, "", FONT_FOLDER / "DejaVuSans.ttf")
        self._pdf.add_font(_FAMILY, "B", FONT_FOLDER / "DejaVuSans-Bold.ttf")
        self._widths: dict[tuple[bool, str], float] = {}
        self._pdf.set_font(_FAMILY)
        self._pdf.set_title(self._plain(title))
        self._pdf.set_creator("ticketd")
        self._pdf.add_page()

    def put(self, text: str, place: _Place) -> float:
        """Prints a text in its box and answers the y below its last line."""
        fitted = fit(self._plain(text, place.bold), place.box, lambda part: self._width(part, place.bold))
        self._pdf.set_font(_FAMILY, "B" if place.bold else "", fitted.size)
        self._pdf.set_text_color(*place.colour)
        height = fitted.size * _LINE_HEIGHT * _MM_PER_POINT
        for index, line in enumerate(fitted.lines):
            spare = place.box.width - self._width(line, place.bold) * fitted.size
            baseline = place.y + index * height + fitted.size * 0.95 * _MM_PER_POINT
            self._pdf.text(place.x + (spare / 2 if place.centred else 0), baseline, _as_displayed(line))
        return place.y + len(fitted.lines) * height

    def put_field(self, label: str, text: str, place: _Place) -> float:
        """Prints a text below its small label and answers the y below it."""
        over = Box(width=place.box.width, lines=1, largest=6, smallest=4)
        y = self.put(label, _Place(x=place.x, y=place.y, box=over, colour=_GREY))
        return self.put(text, msgspec.structs.replace(place, y=y + 0.3, bold=True))

    def fill_band(self, height: float) -> None:
        self._pdf.set_fill_color(*_INK)
        self._pdf.rect(0, 0, _WIDTH_MM, height, style="F")

    def rule(self, y: float) -> None:
        self._pdf.set_draw_color(*_LINE_GREY)
        self._pdf.set_line_width(0.2)
        self._pdf.line(_MARGIN_MM, y, _WIDTH_MM - _MARGIN_MM, y)

    def put_picture(self, png: bytes, x: float, y: float, side: float) -> None:
        self._pdf.image(io.BytesIO(png), x, y, side, side)

    def put_bars(self, digits: str, y: float, height: float) -> None:
        """Prints an even number of digits as Interleaved 2 of 5 (ISO/IEC 16390), in the middle of the
        page."""
        narrow = 0.6
        # A pair of digits is 18 narrow elements wide, the start 4, the stop 5.
        width = narrow * (len(digits) / 2 * 18 + 9)
        self._pdf.set_fill_color(*_INK)
        self._pdf.interleaved2of5(digits, (_WIDTH_MM - width) / 2, y, 3 * narrow, height)

    def finished(self) -> bytes:
        return bytes(self._pdf.output())

    def _plain(self, text: str, bold: bool = False) -> str:
        font = self._pdf.fonts[f"{_FAMILY.lower()}{'B' if bold else ''}"]
        # Only fonts built into every reader are another class, and none of those is used here.
        glyphs = font.cmap if isinstance(font, TTFFont) else {}
        return plain_text(text, lambda character: ord(character) in glyphs, _MISSING)

    def _width(self, text: str, bold: bool) -> float:
        """The width of a text in mm at a size of one point. Without kerning, it is the sum of its
        characters'."""
        return sum(self._character_width(character, bold) for character in text)

    def _character_width(self, character: str, bold: bool) -> float:
        known = self._widths.get((bold, character))
        if known is None:
            self._pdf.set_font(_FAMILY, "B" if bold else "", 100)
            known = self._widths[bold, character] = self._pdf.get_string_width(character) / 100
        return known


def _print_heading(sheet: _Sheet, page: TicketPage) -> None:
    sheet.fill_band(_BAND_MM)
    name = Box(width=_INNER_MM, lines=3, largest=17, smallest=8)
    y = sheet.put(page.event_name, _Place(x=_MARGIN_MM, y=5, box=name, bold=True, colour=_WHITE))
    if page.artist and page.artist != page.event_name:
        artist = Box(width=_INNER_MM, lines=1, largest=10, smallest=6)
        sheet.put(page.artist, _Place(x=_MARGIN_MM, y=y + 1.2, box=artist, colour=_WHITE))


def _print_venue_and_time(sheet: _Sheet, page: TicketPage) -> None:
    venue = Box(width=_INNER_MM, lines=2, largest=11, smallest=7)
    place = ", ".join(part for part in (page.venue_name, page.venue_city) if part)
    sheet.put_field("VENUE", place, _Place(x=_MARGIN_MM, y=37, box=venue))
    zone = _zone(page.timezone)
    starts = _moment(page.starts_at_ms).astimezone(zone)
    time_box = Box(width=68, lines=1, largest=11, smallest=5)
    when = f"{_day(starts)}, {starts:%H:%M} {starts.tzname()}"
    sheet.put_field("DATE AND TIME", when, _Place(x=_MARGIN_MM, y=50, box=time_box))
    if page.doors_open_ms is not None:
        doors = _moment(page.doors_open_ms).astimezone(zone)
        text = f"{doors:%H:%M}" if doors.date() == starts.date() else f"{_day(doors)}, {doors:%H:%M}"
        doors_box = Box(width=_INNER_MM - 71, lines=2, largest=11, smallest=5)
        sheet.put_field("DOORS", text, _Place(x=_MARGIN_MM + 71, y=50, box=doors_box))


def _print_seat(sheet: _Sheet, page: TicketPage) -> None:
    sheet.rule(60)
    x = _MARGIN_MM
    for label, text, width in (
        ("SECTION", page.section, 47.0),
        ("ROW", page.row, 20.0),
        ("SEAT", page.seat, 20.0),
    ):
        box = Box(width=width, lines=2, largest=14, smallest=6)
        sheet.put_field(label, text, _Place(x=x, y=61.5, box=box))
        x += width + 2
    sheet.rule(77)


def _print_codes(sheet: _Sheet, page: TicketPage) -> None:
    side = 44.0
    sheet.put_picture(qr_png(page.code), _MARGIN_MM - 2, 78, side)
    x = _MARGIN_MM + side
    ids = Box(width=_INNER_MM - side, lines=1, largest=8, smallest=4)
    y = sheet.put_field("ORDER", str(page.order_id), _Place(x=x, y=82, box=ids))
    y = sheet.put_field("TICKET", str(page.ticket_id), _Place(x=x, y=y + 2, box=ids))
    note = Box(width=_INNER_MM - side, lines=4, largest=7, smallest=5)
    sheet.put(
        "Show this code at the door. It opens the door once: keep it to yourself.",
        _Place(x=x, y=y + 3, box=note, colour=_GREY),
    )
    sheet.put_bars(page.barcode, 124, 11)
    digits = " ".join(page.barcode[at : at + 4] for at in range(0, BARCODE_LENGTH, 4))
    middle = Box(width=_INNER_MM, lines=1, largest=11, smallest=11)
    sheet.put(digits, _Place(x=_MARGIN_MM, y=136, box=middle, bold=True, centred=True))


def _as_displayed(line: str) -> str:
    """A line in the order in which its characters stand on paper (Unicode Bidirectional Algorithm)."""
    if not any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in line):
        return line
    return "".join(
        _MIRRORED.get(placed.character, placed.character) if placed.embedding_level % 2 else placed.character
        for placed in BidiParagraph(line).get_reordered_characters()
    )


def _moment(at_ms: int) -> datetime.datetime:
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=at_ms)


def _day(moment: datetime.datetime) -> str:
    """The date in English whatever the process's locale is."""
    return f"{_WEEKDAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _zone(name: str) -> datetime.tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # A ticket without local time still opens the door; a ticket that cannot be printed does not.
        return datetime.UTC
