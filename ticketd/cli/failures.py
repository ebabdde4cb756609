"""What goes wrong on the command line, or might, in a sentence on standard error. No traceback reaches an operator."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from config import SettingsError
from storage.engine import EngineStopped, StorageError
from ticketd.errors import Refusal
from ticketd.ports.sandbox_ledger import LedgerUnusable

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
_EXIT_INTERRUPTED: Final = 130
"""As a shell tells of a process that SIGINT ended."""
_EXIT_PIPE: Final = 141
"""As a shell tells of a process that SIGPIPE ended."""
DEBUG_VARIABLE: Final = "TICKETD_DEBUG"


class CommandFailed(Exception):
    """A command could not do what it was asked; the text says why, for the operator."""


Failures = tuple[type[Exception], ...]

_EXPECTED: Final[Failures] = (
    CommandFailed,
    EngineStopped,
    LedgerUnusable,
    OSError,
    Refusal,
    SettingsError,
    StorageError,
)


@contextmanager
def told_plainly(expected: Failures = ()) -> Iterator[None]:
    """Ends the process with status 1 and a sentence when something fails; with ``TICKETD_DEBUG=1`` it is raised.

    ``expected`` are failures of this command's own whose text is a sentence for the operator.
    """
    try:
        yield
    except Exception as failure:
        if os.environ.get(DEBUG_VARIABLE) == "1":
            raise
        if isinstance(failure, BrokenPipeError):
            _hear_no_more()
            raise SystemExit(_EXIT_PIPE) from None
        for problem in _worth_telling(leaves(failure)):
            tell(sentence_of(problem, expected))
        raise SystemExit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise SystemExit(_EXIT_INTERRUPTED) from None
    except BaseExceptionGroup as failures:
        # Nurseries wrap what ends the process, too.
        raise _exit_among(failures) from None


def _worth_telling(problems: Sequence[BaseException]) -> list[BaseException]:
    """Of several failures of the store, which have one cause, the last: the writer's, who knows what it means."""
    of_the_store = [problem for problem in problems if isinstance(problem, StorageError)]
    return [problem for problem in problems if problem not in of_the_store[:-1]]


def _exit_among(failures: BaseExceptionGroup) -> BaseException:
    """The end of the process that somebody asked for among failures, if there is one; else the failures."""
    for leaf in leaves(failures):
        if isinstance(leaf, SystemExit):
            return leaf
        if isinstance(leaf, KeyboardInterrupt):
            return SystemExit(_EXIT_INTERRUPTED)
    return failures


def tell(sentence: str) -> None:
    """Tells the operator something beside a command's answer, on standard error."""
    print(f"ticketd: {sentence}", file=sys.stderr, flush=True)


def _hear_no_more() -> None:
    """Whoever read the output has heard enough: nothing is written at the end of the process either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def leaves(failure: BaseException) -> list[BaseException]:
    """The failures within nested exception groups, each once."""
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in leaves(inner)]
    return [failure]


def sentence_of(failure: BaseException, expected: Failures = ()) -> str:
    """What an operator is told of a failure."""
    if isinstance(failure, (*_EXPECTED, *expected)):
        return str(failure)
    return (
        f"an internal error ended this command: {type(failure).__name__}: {failure} "
        f"(run it again with {DEBUG_VARIABLE}=1 for the details)"
    )
