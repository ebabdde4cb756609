"""The port to whoever carries the mail, and how a message becomes the bytes that are carried.

A message is text for one person. What stands in a header is refused if it could start another header; nothing
is mended silently. When a mail is due, and what happens after a refusal, do not belong here.
"""

from __future__ import annotations

import base64
import datetime
import re
import unicodedata
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final, Protocol

import msgspec

MAX_ADDRESS_CHARACTERS: Final = 254
MAX_HEADER_CHARACTERS: Final = 500

_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_LOCAL_PART: Final = re.compile(r"[^\s@\"(),:;<>\[\\\].]+(\.[^\s@\"(),:;<>\[\\\].]+)*")
_DOMAIN_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_DOMAIN_LABEL}(\.{_DOMAIN_LABEL})*", re.ASCII)
_ENCODED_WORD: Final = "=?"
_ENCODED_WORD_BYTES: Final = 45  # In base64, and with what stands around it, at most 75 characters.
_BREAKING_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


class MailUnavailable(Exception):
    """The mail could not be handed over now; later it may be. It may have been handed over all the same."""


class MailRefused(Exception):
    """This mail will never be taken as it is."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to one person.

    ``message_id`` is its own for ever, also when it is sent again: 1 to 64 of ``A-Z a-z 0-9 . _ -``, not
    beginning with a sign. ``text`` is the whole message in plain text, ``html`` the same in HTML if there is
    any.
    """

    to: str
    to_name: str
    subject: str
    text: str
    html: str | None = None
    message_id: str


class Sender(msgspec.Struct, frozen=True):
    """Whom the mail is from."""

    address: str
    name: str = ""


class Mailer(Protocol):
    """Hands mail over. A message sent again under its ``message_id`` may arrive twice, but never under
    another id."""

    async def send(self, message: Message) -> None:
        """Returns once the mail is handed over durably. Raises MailRefused for good, MailUnavailable for
        now."""


class Letter(msgspec.Struct, frozen=True):
    """A message ready to travel: the addresses of the envelope, and the bytes (RFC 5322, lines ended by CR LF).

    All is ASCII, except for the letters of an address's local part (RFC 6532).
    """

    sender: str
    recipient: str
    content: bytes


def compose(message: Message, sender: Sender, now_ms: int) -> Letter:
    """The message as it travels, dated ``now_ms``.

    MailRefused for a message id out of form, an address that is none, and a line break or a control character
    in an address, a name or the subject.
    """
    if not _MESSAGE_ID.fullmatch(message.message_id):
        raise MailRefused("a message id is 1 to 64 letters, digits, '.', '_' or '-'")
    from_address, to_address = check_address(sender.address), check_address(message.to)
    domain = from_address.rpartition("@")[2]
    date = datetime.datetime.fromtimestamp(now_ms // 1000, datetime.UTC)
    headers = (
        ("From", _mailbox(from_address, sender.name)),
        ("To", _mailbox(to_address, message.to_name)),
        ("Subject", _encoded(_check_header_text("subject", message.subject))),
        ("Date", format_datetime(date)),
        ("Message-ID", f"<{message.message_id}@{domain}>"),
        ("Auto-Submitted", "auto-generated"),
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return Letter(from_address, to_address, head.encode() + _body(message))


def check_address(address: str) -> str:
    """The address; a domain in other letters becomes its ASCII form.

    MailRefused unless it is ``local@domain`` of at most 254 characters, without quoting, comments or control
    characters.
    """
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise MailRefused(f"an address has at most {MAX_ADDRESS_CHARACTERS} characters")
    local, _, domain = _check_header_text("address", address).rpartition("@")
    try:
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        ascii_domain = ""
    if not _LOCAL_PART.fullmatch(local) or _ENCODED_WORD in local or not _DOMAIN.fullmatch(ascii_domain):
        raise MailRefused("an address is local@domain")
    return f"{local}@{ascii_domain}"


def _check_header_text(what: str, text: str) -> str:
    if len(text) > MAX_HEADER_CHARACTERS:
        raise MailRefused(f"the {what} has more than {MAX_HEADER_CHARACTERS} characters")
    if any(unicodedata.category(character) in _BREAKING_CATEGORIES for character in text):
        raise MailRefused(f"the {what} holds a line break or a control character")
    return text


def _mailbox(address: str, name: str) -> str:
    if not name:
        return address
    encoded = _encoded(_check_header_text("name", name))
    if encoded == name:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        encoded = f'"{escaped}"'
    return f"{encoded} <{address}>"


def _encoded(text: str) -> str:
    # RFC 2047, section 2. The standard library's own folding of such headers loses blanks (seen in 3.11.7).
    if text.isascii() and _ENCODED_WORD not in text:
        return text
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _ENCODED_WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    words.append(word)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def _body(message: Message) -> bytes:
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    try:
        mail.set_content(message.text)
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html")
    except UnicodeEncodeError as error:
        raise MailRefused("the text holds characters that cannot be encoded") from error
    return bytes(mail)
