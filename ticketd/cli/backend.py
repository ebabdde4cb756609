"""What a command speaks to: whoever answers an operator's calls, in the form of the operator's endpoints.

Who that is, the running daemon or the store itself, is ``ticketd.cli.reach``'s to find out.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import OPERATOR_KEY_VARIABLE

_FOR_WANT_OF_A_KEY: Final = ("API_KEY_INVALID", "SCOPE_MISSING")
_KEY_HINT: Final = f"Put one of the scope operator into the variable {OPERATOR_KEY_VARIABLE}."

JSON_HEADERS: Final = {"content-type": "application/json"}


class OperatorError(msgspec.Struct, frozen=True):
    """What an error answer says."""

    code: str
    message: str
    details: dict[str, object] = {}


class OperatorRefused(CommandFailed):
    """An operator's call was refused."""

    def __init__(self, error: OperatorError) -> None:
        told = [f"{name}: {_shown(value)}" for name, value in error.details.items()]
        hint = [_KEY_HINT] if error.code in _FOR_WANT_OF_A_KEY else []
        super().__init__(" ".join([error.message, *([f"({'; '.join(told)})"] if told else []), *hint]))
        self.error = error


class OperatorAnswer(msgspec.Struct, frozen=True):
    """The answer to a call: its status and its body."""

    status: int
    body: bytes


class Backend(Protocol):
    """What answers an operator's calls."""

    @property
    def is_daemon(self) -> bool:
        """Whether a running daemon answers."""

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        """Sends one call. Raises CommandFailed if no answer comes."""


class _ErrorForm(msgspec.Struct, frozen=True):
    error: OperatorError


def call(backend: Backend, method: str, target: str, body: object = None) -> bytes:
    """The body of a call's answer. ``body`` is sent as JSON, bytes as they are. Raises OperatorRefused."""
    sent = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    answer = backend.send(method, target, sent)
    if answer.status < 400:
        return answer.body
    try:
        error = msgspec.json.decode(answer.body, type=_ErrorForm).error
    except msgspec.MsgspecError:
        raise CommandFailed(f"the daemon answered with the status {answer.status}") from None
    raise OperatorRefused(error)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
