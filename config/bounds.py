"""Every bound of every setting, in one place: one annotated type for each kind of value.

The ``description`` of a type is what a person is told that is allowed. ``extra["form"]`` is a check of the written form
that numbers and lengths cannot express; ``extra["secret"]`` hides the value wherever settings are shown. Defaults stand
in ``config.settings``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta

from config import forms

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

HOUR: Final = 3600
DAY: Final = 24 * HOUR

_LONGEST_TEXT: Final = 4096


def whole(lowest: int, highest: int, unit: str) -> Meta:
    """A whole number of ``unit`` from ``lowest`` to ``highest``, both included."""
    return Meta(ge=lowest, le=highest, description=f"a whole number of {unit} from {lowest} to {highest}")


def text(has_form: Callable[[str], bool], allowed: str, *, secret: bool = False) -> Meta:
    """A text of a form, at most 4096 characters."""
    return Meta(max_length=_LONGEST_TEXT, description=allowed, extra={"form": has_form, "secret": secret})


def texts(has_form: Callable[[str], bool], allowed: str) -> Meta:
    """A list of different texts, each of the form, at most 1000 of them."""

    def all_have_form(values: tuple[str, ...]) -> bool:
        return len(set(values)) == len(values) and all(has_form(value) for value in values)

    return Meta(max_length=1000, description=allowed, extra={"form": all_have_form})


# [server]
Bind = Annotated[str, text(forms.is_bind, "HOST:PORT, an IPv6 address in brackets, the port from 0 to 65535")]
OperatorBind = Annotated[
    str,
    text(
        forms.is_bind_or_empty,
        'HOST:PORT, an IPv6 address in brackets, or "" for a Unix socket in the data folder',
    ),
]
PublicUrl = Annotated[
    str,
    text(
        forms.is_public_url_or_empty,
        'an http or https URL without user, query, fragment and final slash, or "" for http:// and the address bound',
    ),
]
Origins = Annotated[
    tuple[str, ...],
    texts(
        forms.is_origin,
        'a list of different origins as browsers send them (such as "https://shop.example", no default port), or "*"',
    ),
]
Networks = Annotated[
    tuple[str, ...],
    texts(
        forms.is_network,
        'a list of different addresses or networks, such as "10.0.0.0/8" (bits of hosts zero)',
    ),
]
FrontKind = Annotated[Literal["fast", "hypercorn"], Meta(description='"fast" or "hypercorn"')]
Connections = Annotated[int, whole(1, 1_000_000, "connections")]
WireSeconds = Annotated[int, whole(1, HOUR, "seconds")]
ShutdownSeconds = Annotated[int, whole(1, 600, "seconds")]
HeaderBytes = Annotated[int, whole(1 * KIB, 1 * MIB, "bytes")]
BodyBytes = Annotated[int, whole(1 * KIB, 16 * MIB, "bytes")]
OperatorBodyBytes = Annotated[int, whole(1 * KIB, 256 * MIB, "bytes")]

# [storage]
Folder = Annotated[str, text(forms.is_path, "the name of a folder")]
MapBytes = Annotated[int, whole(16 * MIB, 16 * TIB, "bytes")]
BatchCommands = Annotated[int, whole(1, 4096, "commands")]
QueuedCommands = Annotated[int, whole(1, 1_000_000, "commands")]
ChangeSeconds = Annotated[int, whole(60, 366 * DAY, "seconds")]
FreeBytes = Annotated[int, whole(0, 1 * TIB, "bytes")]

# [auth]
UserTokens = Annotated[Literal["required", "optional"], Meta(description='"required" or "optional"')]
DeviceBinding = Annotated[
    Literal["strict", "present", "off"], Meta(description='"strict", "present" or "off"')
]
KeyFile = Annotated[str, text(forms.is_line_or_empty, 'the name of a file, or "" for none')]
Claim = Annotated[str, text(forms.is_line_or_empty, 'a text of one line, or "" for none')]
UserAlgorithm = Literal["RS256", "ES256", "EdDSA", "HS256"]


def _some_and_different(values: tuple[str, ...]) -> bool:
    return 0 < len(set(values)) == len(values)


UserAlgorithms = Annotated[
    tuple[UserAlgorithm, ...],
    Meta(
        description='a list of at least one of "RS256", "ES256", "EdDSA", "HS256", each once',
        extra={"form": _some_and_different},
    ),
]
LeewaySeconds = Annotated[int, whole(0, 300, "seconds")]
TokenSeconds = Annotated[int, whole(60, 30 * DAY, "seconds")]

# [payments]
Gateway = Annotated[
    Literal["sandbox", "stripe", "box_office"], Meta(description='"sandbox", "stripe" or "box_office"')
]
FreezeSeconds = Annotated[int, whole(1, 60, "seconds")]
GatewaySeconds = Annotated[int, whole(1, 300, "seconds")]
RetrySeconds = Annotated[int, whole(1, HOUR, "seconds")]
ApiBase = Annotated[
    str, text(forms.is_web_url, "an http or https URL without user, query, fragment and final slash")
]
ReturnUrl = Annotated[
    str,
    text(
        forms.is_return_url_or_empty,
        'an http or https URL without user and fragment, at most 2048 characters, or "" for server.public_url',
    ),
]
CallsAtOnce = Annotated[int, whole(1, 256, "calls")]
CallsPerSecond = Annotated[int, whole(1, 10_000, "calls")]
Secret = Annotated[
    str, text(forms.is_secret_or_empty, 'printable ASCII without spaces, or "" for none', secret=True)
]

# [mail]
SmtpHost = Annotated[
    str, text(forms.is_host_or_empty, 'a host name or an address, or "" for the outbox folder')
]
Port = Annotated[int, Meta(ge=1, le=65535, description="a port from 1 to 65535")]
SmtpUsername = Annotated[str, text(forms.is_line_or_empty, 'a text of one line, or "" for no login')]
Password = Annotated[str, text(forms.is_line_or_empty, 'a text of one line, or "" for none', secret=True)]
SmtpSecurity = Annotated[Literal["starttls", "tls", "none"], Meta(description='"starttls", "tls" or "none"')]
Mailbox = Annotated[str, text(forms.is_mailbox, 'an e-mail address alone, such as "tickets@example.com"')]

# [log]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], Meta(description='"debug", "info", "warning" or "error"')
]
LogFormat = Annotated[Literal["auto", "json", "text"], Meta(description='"auto", "json" or "text"')]

# [rooms]
PollSeconds = Annotated[int, whole(1, HOUR, "seconds")]

# [realtime]
MessageBytes = Annotated[int, whole(1 * KIB, 1 * MIB, "bytes")]

# [hoarding]
EntriesPerAddress = Annotated[int, whole(0, 10_000, "entries")]
LapsedHolds = Annotated[int, whole(0, 1000, "holds")]
LapseWindowSeconds = Annotated[int, whole(1, DAY, "seconds")]
CooldownSeconds = Annotated[int, whole(0, DAY, "seconds")]

# [tickets]
TransferSeconds = Annotated[int, whole(1, 366 * DAY, "seconds")]

# [idempotency]
OutcomeSeconds = Annotated[int, whole(60, 30 * DAY, "seconds")]

# [rate_limits]
RateCalls = Annotated[int, whole(1, 1_000_000, "calls")]
PollCalls = Annotated[int, whole(1, 6000, "calls")]
BurstCalls = Annotated[int, whole(1, 60, "calls")]
RateMessages = Annotated[int, whole(1, 1_000_000, "messages")]
RateCallers = Annotated[int, whole(1000, 10_000_000, "counts")]
