"""What an operator is told when a command fails: one sentence a cause."""

from __future__ import annotations

import pytest

from storage.engine import StorageError
from ticketd.cli.failures import told_plainly

READING = StorageError("the store cannot be read: it panics")
WRITING = StorageError("the store failed; nothing more is taken")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (WRITING, ["ticketd: the store failed; nothing more is taken"]),
        (ExceptionGroup("", [READING, WRITING]), ["ticketd: the store failed; nothing more is taken"]),
        (
            ExceptionGroup("", [READING, ExceptionGroup("", [OSError("no port"), WRITING])]),
            ["ticketd: no port", "ticketd: the store failed; nothing more is taken"],
        ),
    ],
)
def test_a_store_that_fails_in_several_places_is_told_of_once(
    failure: Exception, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end, told_plainly():
        raise failure
    assert end.value.code == 1
    assert capsys.readouterr().err.splitlines() == told
