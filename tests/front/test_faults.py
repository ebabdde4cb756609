"""What is logged of a fault, and what passes."""

from __future__ import annotations

import pytest
import trio
from structlog.testing import capture_logs

from ticketd.front.faults import PeerGone, faults_logged


def fail(error: BaseException, **fields: str) -> None:
    with faults_logged("it.failed", **fields):
        raise error


def test_type_and_place_are_logged_but_no_text() -> None:
    with capture_logs() as logs:
        fail(ValueError("secret-token"), listener="public")
    (entry,) = logs
    assert (entry["event"], entry["error"], entry["listener"]) == ("it.failed", "ValueError", "public")
    assert any(place.startswith("test_faults.py:") for place in entry["where"])
    assert "secret" not in repr(entry)


def test_each_of_a_group_is_logged_but_a_peer_that_left() -> None:
    with capture_logs() as logs:
        fail(ExceptionGroup("a", [ValueError("b"), ExceptionGroup("c", [KeyError("d"), PeerGone()])]))
    assert [entry["error"] for entry in logs] == ["ValueError", "KeyError"]


@pytest.mark.parametrize("other", [KeyboardInterrupt(), SystemExit(1)])
def test_what_is_no_exception_passes(other: BaseException) -> None:
    with pytest.raises(type(other)):
        fail(other)
    with capture_logs() as logs, pytest.raises(BaseExceptionGroup) as raised:
        fail(BaseExceptionGroup("both", [other, ValueError()]))
    assert raised.value.exceptions == (other,)
    assert [entry["error"] for entry in logs] == ["ValueError"]


async def test_cancellation_passes() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with faults_logged("it.failed"):
            await trio.sleep_forever()
    assert scope.cancelled_caught
