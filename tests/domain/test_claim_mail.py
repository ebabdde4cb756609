from __future__ import annotations

from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.wire.transfers import PersonName
from storage.schema.ids import OrderId, TicketId, TransferId, UserId
from storage.schema.records import EventRecord, TransferRecord, VenueRecord
from storage.schema.states import TransferState
from tests.domain.inventory_stage import DATE_MS, EVENT_ID, OPENS_MS
from tests.domain.room_stage import SALE_RECORD
from ticketd.domain.claim_mail import MAX_SUBJECT_CHARACTERS, ClaimMail, Offer, claim_mail, venue_time
from ticketd.domain.seat_labels import SeatLabel
from ticketd.ports.mail import Message, Sender, compose

LINK = "https://tickets.example/claim?transfer=00000000-0000-0000-0000-000000000001&token=abc"
AUGUST_MS = 1_786_820_400_000  # 2026-08-15T19:00:00Z
PERSON_NAME = st.from_regex(
    r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,100}\Z", alphabet=st.characters(codec="utf-8")
)


def made(event_name: str = "A Night of Tests", recipient_name: str = "John Doe", row: str = "A") -> ClaimMail:
    event = EventRecord(
        event_id=EVENT_ID,
        name=event_name,
        venue=VenueRecord(
            venue_id=UUID(int=1), name="The Hall", city="Berlin", country="DE", timezone="Europe/Berlin"
        ),
        section_keys=(),
        next_section_key=0,
        next_row_key=0,
    )
    transfer = TransferRecord(
        transfer_id=TransferId(UUID(int=1)),
        ticket_id=TicketId(UUID(int=2)),
        order_id=OrderId(UUID(int=3)),
        sender_id=UserId(UUID(int=4)),
        recipient_email="friend@example.com",
        recipient_name=recipient_name,
        claim_hash=b"",
        state=TransferState.PENDING,
        created_at_ms=OPENS_MS,
        expires_at_ms=DATE_MS,
    )
    return claim_mail(Offer(event, SALE_RECORD, SeatLabel("Floor", row, "7"), transfer), LINK)


def test_the_mail_says_all_that_the_recipient_needs() -> None:
    mail = made()
    assert mail.subject == "A ticket for you: A Night of Tests"
    lines = mail.text.splitlines()
    assert lines[0] == "Hello John Doe,"
    assert LINK in lines
    assert "  The Hall, Berlin" in lines
    assert "  Section Floor, row A, seat 7" in lines
    assert f"  {venue_time(SALE_RECORD.date_ms, 'Europe/Berlin')}" in lines


@pytest.mark.parametrize("sign", ["\n", "\r\n", "\u2028", "\u202e", "\x1b"])
def test_no_name_makes_a_line_of_its_own(sign: str) -> None:
    plain = made().text
    for mail in (
        made(event_name=f"A Night{sign}of Tests"),
        made(recipient_name=f"John{sign}Doe"),
        made(event_name=f"{sign}A Night of Tests", row=f"A{sign}"),
    ):
        assert len(mail.text.splitlines()) == len(plain.splitlines())
        assert mail.subject == "A ticket for you: A Night of Tests"
        assert sign not in mail.subject


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_long_subject_is_cut(over: int) -> None:
    name = "x" * (MAX_SUBJECT_CHARACTERS - len("A ticket for you: ") + over)
    subject = made(event_name=name).subject
    assert len(subject) == min(MAX_SUBJECT_CHARACTERS + over, MAX_SUBJECT_CHARACTERS)
    assert subject.endswith("…") == (over > 0)


def test_times_are_the_venues() -> None:
    assert venue_time(AUGUST_MS, "America/New_York") == "15 Aug 2026, 15:00 EDT"
    assert venue_time(AUGUST_MS + 999, "Nowhere/At_All") == "15 Aug 2026, 19:00 UTC"
    assert venue_time(AUGUST_MS, "../etc/passwd") == "15 Aug 2026, 19:00 UTC"


@given(recipient=PERSON_NAME, event=PERSON_NAME)
def test_every_name_that_a_request_may_carry_can_be_mailed(recipient: str, event: str) -> None:
    msgspec.convert(recipient, PersonName)
    mail = made(event_name=event, recipient_name=recipient)
    message = Message(
        to="friend@example.com",
        to_name=recipient,
        subject=mail.subject,
        text=mail.text,
        message_id=str(UUID(int=1)),
    )
    compose(message, Sender("tickets@localhost"), OPENS_MS)
