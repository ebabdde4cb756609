"""``ticketd refund``: how it asks, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.cli.conftest import Run
from tests.support.events import arena_file
from ticketd.cli import refund
from ticketd.cli.backend import OperatorAnswer

ORDER, TICKET = UUID(int=1), UUID(int=2)
ANSWER = {
    "refund_id": str(UUID(int=3)),
    "order_id": str(ORDER),
    "status": "ASKED",
    "amount": 620.00,
    "currency": "USD",
    "ticket_ids": [str(TICKET)],
    "whole_order": False,
}


class Asked:
    """A backend that notes what it is asked."""

    is_daemon = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, object]] = []

    def send(self, method: str, target: str, body: bytes) -> OperatorAnswer:
        self.calls.append((method, target, json.loads(body)))
        return OperatorAnswer(200, json.dumps(ANSWER).encode().replace(b"620.0", b"620.00"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    backend = Asked()

    @contextmanager
    def opened(_: object) -> Iterator[Asked]:
        yield backend

    monkeypatch.setattr(refund, "open_backend", opened)
    return backend


def test_a_whole_order(run: Run, data: Path, asked: Asked) -> None:
    told = run("refund", ORDER, "--data", data)
    target = f"/v1/operator/orders/{ORDER}/refund"
    assert asked.calls == [("POST", target, {"even_used": False, "reason": ""})]
    assert told.line == f"620.00 USD for 1 ticket: on its way back (refund {UUID(int=3)})"


def test_an_order_whose_money_the_bank_has(
    run: Run, data: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWER, "amount", 0)
    monkeypatch.setitem(ANSWER, "whole_order", True)
    told = run("refund", ORDER, "--data", data)
    assert told.line == f"0 USD for the whole order: nothing is left to give back (refund {UUID(int=3)})"


def test_all_its_options(run: Run, data: Path, asked: Asked) -> None:
    told = run(
        *("refund", ORDER, "--ticket", TICKET, "--ticket", UUID(int=4), "--without-fees", "--even-used"),
        *("--reason", "rain", "--json", "--data", data),
    )
    assert asked.calls[0][2] == {
        "even_used": True,
        "reason": "rain",
        "ticket_ids": [str(TICKET), str(UUID(int=4))],
        "with_fees": False,
    }
    assert json.loads(told.out)["status"] == "ASKED"


def test_with_fees(run: Run, data: Path, asked: Asked) -> None:
    run("refund", ORDER, "--with-fees", "--data", data)
    assert asked.calls[0][2] == {"even_used": False, "reason": "", "with_fees": True}


def test_an_order_that_is_not_there(run: Run, data: Path) -> None:
    run("import", "-", "--data", data, stdin=json.dumps(arena_file()).encode())
    told = run("refund", uuid4(), "--data", data)
    assert told.status == 1
    assert "There is no such order." in told.err


@pytest.mark.parametrize(
    "wrong", [("x",), (str(ORDER), "--ticket", "x"), (str(ORDER), "--with-fees", "--without-fees")]
)
def test_what_cannot_be_read(run: Run, data: Path, wrong: tuple[str, ...]) -> None:
    assert run("refund", *wrong, "--data", data).status == 2
