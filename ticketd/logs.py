"""Logs: one structured line an event, to standard error, in which no token, key or card ever appears.

What is secret is not logged in the first place; the mask below is the second line of defence, for a text that somebody
else put into an exception.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

import structlog

from config.settings import LogSettings

MASK: Final = "(hidden)"

_SECRETS: Final = re.compile(
    r"tk_[a-z2-7]{12}_[A-Za-z0-9_-]{20,}"  # API keys
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JSON web tokens
    r"|(?i:bearer)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\b(?:tok|pm|sk|rk|whsec|pi|seti)_[A-Za-z0-9_]{6,}"  # card tokens and a gateway's own keys
    r"|\b\d{14,19}\b"  # card numbers; 13 digits are a time in milliseconds
    r"|\b\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}\b|\b\d{4}[ -]\d{6}[ -]\d{4,5}\b"  # the same, as they are embossed
    r"|TKD1:[A-Z2-7]{20,}"  # the codes of tickets
)
_NAMED_SECRETS: Final = re.compile(
    r"((?i:token|link|password|secret)[\\\"']*\s?[=:]\s?[\\\"']*)"  # as in a query, in JSON, in a repr
    r"[A-Za-z0-9._~%+/=-]{8,}"
)


def mask_secrets(text: str) -> str:
    """``text`` with everything that looks like a credential, a card or a ticket's code blotted out."""
    return _NAMED_SECRETS.sub(rf"\1{MASK}", _SECRETS.sub(MASK, text))


def set_up_logs(settings: LogSettings) -> None:
    """Sends all logs, those of libraries too, to standard error, as JSON or as readable lines."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_MaskingFormatter(formatter))
    root = logging.getLogger()
    root.handlers = [handler]
    # A library's chatter is nobody's business; what it warns of is.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("ticketd").setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


class _MaskingFormatter(logging.Formatter):
    """Masks the finished line once more, since a traceback is only made while it is rendered."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return mask_secrets(self._inner.format(record))
