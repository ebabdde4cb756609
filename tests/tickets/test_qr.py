from __future__ import annotations

import base64
import io
from uuid import UUID

import pytest
import zxingcpp
from PIL import Image

from storage.schema.ids import EventId, SeatNumber, TicketId
from ticketd.tickets.code import TicketCode, new_ticket_key, sign_ticket_code
from ticketd.tickets.qr import CACHED_PICTURES, QUIET_ZONE_MODULES, qr_modules, qr_png, qr_png_base64

KEY = new_ticket_key(bytes(range(32)), 1)


def code_text(number: int) -> str:
    code = TicketCode(
        event_id=EventId(UUID(int=number << 90 | number)),
        ticket_id=TicketId(UUID(int=number * 0x1234567890ABCDEF)),
        seat_number=SeatNumber(number),
        issue=1,
    )
    return sign_ticket_code(KEY, code)


def picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(qr_png(text)))


def read(image: Image.Image) -> list[tuple[str, zxingcpp.BarcodeFormat]]:
    return [(found.text, found.format) for found in zxingcpp.read_barcodes(image)]


def test_an_independent_reader_reads_the_code() -> None:
    for number in range(1, 40):
        text = code_text(number)
        assert read(picture(text).convert("L")) == [(text, zxingcpp.BarcodeFormat.QRCode)]


def test_a_reader_reads_it_small_and_turned_or_stained() -> None:
    text = code_text(1)
    turned = picture(text).convert("L").rotate(11, expand=True, fillcolor=255).resize((170, 170))
    assert [found for found, _ in read(turned)] == [text]
    stained = picture(text).convert("L")
    # 42 of 318 pixels a side: under 2 % of the symbol, and all of one place.
    stained.paste(0, (180, 180, 222, 222))
    assert [found for found, _ in read(stained)] == [text]


def test_the_form_of_the_picture() -> None:
    image = picture(code_text(1))
    assert (image.format, image.mode, image.size) == ("PNG", "1", (318, 318))
    margin = 6 * QUIET_ZONE_MODULES
    inner = image.convert("L").crop((margin, margin, 318 - margin, 318 - margin))
    outer = image.convert("L")
    outer.paste(255, (margin, margin, 318 - margin, 318 - margin))
    assert outer.getextrema() == (255, 255)
    assert inner.getpixel((0, 0)) == 0
    assert len(qr_png(code_text(1))) < 1000


def test_a_ticket_code_needs_no_more_than_45_modules() -> None:
    modules = qr_modules(code_text(1))
    assert len(modules) == len(modules[0]) == 45 + 2 * QUIET_ZONE_MODULES


def test_the_same_text_makes_the_same_bytes() -> None:
    text = code_text(2)
    first = qr_png(text)
    qr_png.cache_clear()
    assert qr_png(text) == first
    assert base64.b64decode(qr_png_base64(text), validate=True) == first


def test_the_cache_is_bounded() -> None:
    assert qr_png.cache_info().maxsize == CACHED_PICTURES


def test_the_longest_text_has_a_picture_and_a_longer_one_has_none() -> None:
    text = "A" * 3391  # the most that version 40 takes at level M
    assert picture(text).width == 2 * (177 + 2 * QUIET_ZONE_MODULES)
    with pytest.raises(ValueError, match="too large"):
        qr_png(text + "A")
