"""The mail that tells a recipient of a ticket: its subject and its text, made of the event's names.

English, plain text, no word of who the sender is. Times are the venue's. Sending it does not belong here.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from storage.schema.records import EventRecord, SaleRecord, TransferRecord
from ticketd.domain.seat_labels import SeatLabel

MAX_SUBJECT_CHARACTERS: Final = 150
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class ClaimMail(msgspec.Struct, frozen=True):
    """A subject of one line, at most 150 characters, and a text."""

    subject: str
    text: str


class Offer(msgspec.Struct, frozen=True):
    """All that is told of an offered ticket."""

    event: EventRecord
    sale: SaleRecord
    seat: SeatLabel
    transfer: TransferRecord


def claim_mail(offer: Offer, link: str) -> ClaimMail:
    """The mail to the recipient; ``link`` is where the offer is looked at."""
    event = offer.event
    name = one_line(event.name)
    text = "\n".join(
        (
            f"Hello {one_line(offer.transfer.recipient_name)},",
            "",
            "somebody wants to give you a ticket:",
            "",
            f"  {name}",
            f"  {venue_time(offer.sale.date_ms, event.venue.timezone)}",
            f"  {one_line(event.venue.name)}, {one_line(event.venue.city)}",
            "  " + one_line(f"Section {offer.seat.section}, row {offer.seat.row}, seat {offer.seat.seat}"),
            "",
            "See the offer and how to take it:",
            "",
            link,
            "",
            f"It stands until {venue_time(offer.transfer.expires_at_ms, event.venue.timezone)}.",
            "Whoever has this link can take the ticket: do not pass it on. If you do not want the ticket, do nothing.",
            "",
        )
    )
    return ClaimMail(_cut(f"A ticket for you: {name}"), text)


def venue_time(at_ms: int, timezone: str) -> str:
    """A time as the venue's clocks show it: ``15 Aug 2026, 19:00 EDT``. In UTC if the zone is not known here."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(_zone(timezone))
    month = _MONTHS[moment.month - 1]  # in English whatever the process's locale is
    return f"{moment.day} {month} {moment.year}, {moment:%H:%M} {moment.tzname()}"


def one_line(text: str) -> str:
    """``text`` without line breaks, control and format characters, which could pass for more than a name."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SUBJECT_CHARACTERS else text[: MAX_SUBJECT_CHARACTERS - 1].rstrip() + "…"


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
