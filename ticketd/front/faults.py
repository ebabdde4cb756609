"""What becomes of an exception inside a connection: it is logged and goes no further, but for cancellation.

The log says what kind it was and where it arose, never its text, which may quote the request (a header, a
query string, a body) and so a token or a card.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

import structlog

_log: structlog.stdlib.BoundLogger = structlog.get_logger("ticketd.front")
_FRAMES: Final = 5


class PeerGone(OSError):
    """Nothing more can be sent to the peer, or received from it.

    An ``OSError``, because that is what ASGI tells an app to expect of ``send`` once its client has left. It
    is nobody's fault, so it is never logged.
    """


@contextlib.contextmanager
def faults_logged(event: str, **fields: str) -> Iterator[None]:
    """Logs and ends every ``Exception`` of the block, alone or in a group.

    What is not an ``Exception`` (cancellation, an interrupt) goes on, also out of a group that mixes both.
    """
    try:
        yield
    except Exception as fault:
        _log_each(event, fault, fields)
    except BaseExceptionGroup as group:
        faults, others = group.split(Exception)
        if faults is not None:
            _log_each(event, faults, fields)
        if others is not None:
            raise others from None


def log_fault(event: str, fault: Exception, **fields: str) -> None:
    """Logs an exception as ``faults_logged`` does, for where a context manager would cost too much."""
    _log_each(event, fault, fields)


def _log_each(event: str, fault: BaseException, fields: dict[str, str]) -> None:
    for single in _singles(fault):
        if isinstance(single, PeerGone):
            continue
        frames = traceback.extract_tb(single.__traceback__)[-_FRAMES:]
        where = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
        _log.error(event, error=type(single).__name__, where=where, **fields)


def _singles(fault: BaseException) -> list[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        return [single for inner in fault.exceptions for single in _singles(inner)]
    return [fault]
