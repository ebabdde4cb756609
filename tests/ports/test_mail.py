"""Messages become mail that says what was meant, to whom it was meant, and nothing else."""

from __future__ import annotations

import email
import re
import unicodedata
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.policy import compat32, default
from email.utils import parseaddr

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ticketd.ports.mail import (
    MAX_ADDRESS_CHARACTERS,
    MAX_HEADER_CHARACTERS,
    MailRefused,
    Message,
    Sender,
    check_address,
    compose,
)

NOW_MS = 1_767_866_700_123
SENDER = Sender("tickets@venue.example", "The Venue")


def message(
    *,
    to: str = "ada@example.com",
    to_name: str = "Ada",
    subject: str = "A ticket for you",
    text: str = "Hello\n",
    html: str | None = None,
    message_id: str = "m-1",
) -> Message:
    return Message(to=to, to_name=to_name, subject=subject, text=text, html=html, message_id=message_id)


def delivered(sent: Message, sender: Sender = SENDER) -> EmailMessage:
    """What the recipient's program reads from the bytes."""
    raw = compose(sent, sender, NOW_MS).content
    # RFC 5322, 2.1.1, and 2.3: no line is longer than 998, and CR and LF come only together.
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    return email.message_from_bytes(raw, policy=default)


HEADERS = {
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "auto-submitted",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
}


def test_a_plain_message() -> None:
    mail = delivered(message(text="Seat A 1.\n\nhttps://tickets.example/claim?transfer=1&token=2\n"))
    assert str(mail["from"]) == "The Venue <tickets@venue.example>"
    assert str(mail["to"]) == "Ada <ada@example.com>"
    assert mail["subject"] == "A ticket for you"
    assert mail["message-id"] == "<m-1@venue.example>"
    assert str(mail["date"]) == "Thu, 08 Jan 2026 10:05:00 +0000"
    assert mail["auto-submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert "token=2\n" in content(mail)
    assert {name.lower() for name in mail} == HEADERS


def test_html_stands_beside_the_text() -> None:
    mail = delivered(message(text="Zoë\n", html="<p>Zoë</p>\n"))
    assert mail.get_content_type() == "multipart/alternative"
    assert [(part.get_content_type(), content(part)) for part in mail.iter_parts()] == [
        ("text/plain", "Zoë\n"),
        ("text/html", "<p>Zoë</p>\n"),
    ]


def test_the_same_message_is_the_same_bytes() -> None:
    assert compose(message(), SENDER, NOW_MS) == compose(message(), SENDER, NOW_MS)


def test_the_envelope_has_the_bare_addresses() -> None:
    letter = compose(message(to="zoë@bücher.example"), SENDER, NOW_MS)
    assert (letter.sender, letter.recipient) == ("tickets@venue.example", "zoë@xn--bcher-kva.example")
    assert '"Ada" <zoë@xn--bcher-kva.example>\r\n'.encode() in letter.content


def test_all_else_is_ascii() -> None:
    sent = message(to_name="Zoë " * 50, subject="é" * 200, text="é" * 200, html="<p>é</p>")
    content = compose(sent, SENDER, NOW_MS).content
    assert content.isascii()
    # RFC 2047, section 2: an encoded word has at most 75 characters.
    encoded_words = re.findall(rb"=\?\S+\?=", content)
    assert len(encoded_words) > 10
    assert max(len(word) for word in encoded_words) <= 75


def _allowed(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}


# What mail programs agree to keep: runs of blanks are folded, and those at the ends are lost.
names = st.text(st.characters().filter(_allowed), max_size=80).map(lambda text: " ".join(text.split()))


def unfolded(header: str) -> str:
    """A header's text as RFC 2047 reads it; the newer parser keeps blanks between the words of a name."""
    return str(make_header(decode_header(header.replace("\r\n", ""))))


def decoded(header: str) -> tuple[str, str]:
    """The name and the address of a mailbox."""
    name, address = parseaddr(header.replace("\r\n", ""))
    return unfolded(name) if "=?" in header else name, address


def content(mail: MIMEPart) -> str:
    """The text, with the line ends of this machine."""
    text: str = mail.get_content()
    return text.replace("\r\n", "\n")


@given(name=names, subject=names, text=st.text(st.characters(exclude_categories=["Cs"])))
@example(name='Müller, "Bobby"; <x@y.example>', subject="=?utf-8?q?x?=", text=".\n..\nFrom me")
@example(name='Bobby "B" O\\Neil, Jr.', subject='"', text="")
@example(name="\\", subject="\\", text="")
@example(name="a" * 300, subject="ü" * 300, text="x" * 5_000)
@example(name="=?utf-8?q?=0D=0ABcc:_eve@example.com?=", subject="Re: [x] é", text="")
@example(name="李 四" * 30, subject="🎟" * 40, text="\r\n.\r\n")
def test_names_and_subjects_arrive_as_they_were(name: str, subject: str, text: str) -> None:
    sent, sender = message(to_name=name, subject=subject, text=text), Sender("a@b.example", name)
    mail = delivered(sent, sender)
    assert {header.lower() for header in mail} == HEADERS
    raw_headers = email.message_from_bytes(compose(sent, sender, NOW_MS).content, policy=compat32)
    for field, address in (("to", "ada@example.com"), ("from", "a@b.example")):
        (only,) = mail[field].addresses
        assert only.addr_spec == address
        assert decoded(raw_headers[field]) == (name, address)
    assert unfolded(raw_headers["subject"]) == subject
    assert content(mail).split() == text.split()


BREAKS = [
    "\n",
    "\r",
    "\r\n",
    "\x00",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x7f",
    "\x85",
    "\u2028",
    "\u2029",
    "\ud800",
]


@pytest.mark.parametrize("sign", BREAKS)
def test_what_could_start_another_header_is_refused(sign: str) -> None:
    bad = f"x{sign}Bcc: eve@example.com"
    for sent in (
        message(to_name=bad),
        message(subject=bad),
        message(to=f"ada{sign}@example.com"),
        message(to=f"ada@example.com{sign}"),
        message(message_id=f"m{sign}"),
    ):
        with pytest.raises(MailRefused):
            compose(sent, SENDER, NOW_MS)
    for sender in (Sender("a@b.example", bad), Sender(f"a@b.example{sign}")):
        with pytest.raises(MailRefused):
            compose(message(), sender, NOW_MS)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@@example.com",
        "ada@home@example.com",
        "ada lovelace@example.com",
        "ada@exam ple.com",
        "ada,eve@example.com",
        "<ada@example.com>",
        "ada@example.com,eve@example.com",
        "ada@example.com, eve@example.com",
        '"ada"@example.com',
        "ada(x)@example.com",
        "ada@example..com",
        "ada@.example.com",
        "ada@example.com.",
        "ada@-example.com",
        "ada@example-.com",
        "ada@[127.0.0.1]",
        "ada.@example.com",
        ".ada@example.com",
        "a..da@example.com",
        "ada\\@example.com",
        "ada;@example.com",
        "ada@exam_ple.com",
        "ada@" + "x" * 64 + ".com",
        "\u00a0@example.com",
        "=?utf-8?q?ada?=@example.com",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(MailRefused):
        check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "a@b",
        "ada.lovelace+tickets@sub.example.co.uk",
        "o'hara!#$%&*/=^_?`{|}~-@example.com",
        "ada@" + "x" * 63 + ".com",
        "zoë@example.com",
    ],
)
def test_what_is_an_address_is_taken(address: str) -> None:
    assert check_address(address) == address


def test_a_domain_in_other_letters_becomes_ascii() -> None:
    assert check_address("ada@bücher.example") == "ada@xn--bcher-kva.example"


def test_the_bounds_of_lengths() -> None:
    domain = ".".join(["x" * 60] * 3)
    longest = "a" * (MAX_ADDRESS_CHARACTERS - len(domain) - 1) + "@" + domain
    assert check_address(longest) == longest
    with pytest.raises(MailRefused, match="254"):
        check_address("a" + longest)
    most = "n" * MAX_HEADER_CHARACTERS
    delivered(message(to_name=most, subject=most))
    delivered(message(to_name="ë" * MAX_HEADER_CHARACTERS, subject="ë" * MAX_HEADER_CHARACTERS))
    for sent in (message(to_name=most + "n"), message(subject=most + "n")):
        with pytest.raises(MailRefused, match="500"):
            compose(sent, SENDER, NOW_MS)


@pytest.mark.parametrize("message_id", ["", ".", "-a", "../a", "a/b", "a b", "a@b", "ä", "a" * 65])
def test_a_message_id_out_of_form_is_refused(message_id: str) -> None:
    with pytest.raises(MailRefused):
        compose(message(message_id=message_id), SENDER, NOW_MS)


@pytest.mark.parametrize("message_id", ["a", "a" * 64, "019ab3f0-0000-7000-8000-000000000000", "0._-"])
def test_a_message_id_in_form(message_id: str) -> None:
    assert delivered(message(message_id=message_id))["message-id"] == f"<{message_id}@venue.example>"


def test_text_that_no_encoding_has_is_refused() -> None:
    for sent in (message(text="\ud800"), message(html="\ud800")):
        with pytest.raises(MailRefused):
            compose(sent, SENDER, NOW_MS)
