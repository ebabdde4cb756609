"""``ticketd ledger export`` and ``ticketd reconcile``, on a store with sales in it and on a running daemon."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from storage.schema.states import DisputeState
from tests.cli.conftest import Run
from tests.handlers.operator_stage import EVENT, open_stage
from tests.support.process import serving, ticketd
from ticketd.cli import visits
from ticketd.cli.ledger import plain, when
from ticketd.places import SANDBOX_FILE
from ticketd.ports.payments import DisputeSnapshot, PaymentPage, PaymentSnapshot
from ticketd.ports.sandbox_payments import SandboxGateway


@pytest.fixture
def sold(data: Path) -> list[str]:
    """The store of a daemon that has ended, with two orders that were paid: their ids."""

    async def play() -> list[str]:
        async with open_stage(data) as stage:
            await stage.put()
            seats = await stage.seat_ids()
            placed = [await stage.order(seat) for seat in seats[:2]]
            await trio.sleep(1)
            return [order["order_id"] for order in placed]

    data.mkdir(mode=0o700)
    order_ids = trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))
    (data / "sandbox.sqlite").rename(data / SANDBOX_FILE)
    return order_ids


def visit_sandbox(data: Path) -> contextlib.closing[SandboxGateway]:
    return contextlib.closing(
        SandboxGateway(data / SANDBOX_FILE, now_ms=lambda: 0, public_url="http://x.example", inline=True)
    )


@pytest.mark.parametrize("which", [("--all",), ("--event", str(EVENT))])
def test_a_line_for_each_movement_and_the_totals(
    run: Run, data: Path, sold: list[str], which: tuple[str, ...]
) -> None:
    told = run("ledger", "export", *which, "--data", data)
    assert told.status == 0
    assert told.out.count("\r\n") == 1 + 4
    rows = list(csv.DictReader(io.StringIO(told.out, newline="")))
    assert {row["order_id"] for row in rows} == set(sold)
    assert [(row["kind"], row["amount"], row["change"]) for row in rows if row["order_id"] == sold[0]] == [
        ("AUTHORISED", "620.00", "0.00"),
        ("CAPTURED", "620.00", "620.00"),
    ]
    assert {(row["event_id"], row["currency"], row["gateway"]) for row in rows} == {
        (str(EVENT), "USD", "sandbox")
    }
    assert all(row["time"].endswith("Z") and row["payment_ref"].startswith("pi_") for row in rows)
    assert told.err == "AUTHORISED 1240.00 USD\nCAPTURED 1240.00 USD\nbalance 1240.00 USD\n"


@pytest.mark.usefixtures("sold")
def test_a_file_and_json(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ledger.csv"
    told = run("ledger", "export", "--all", "--csv", out, "--data", data)
    assert (told.status, told.out) == (0, "")
    assert out.read_bytes().count(b"\r\n") == 5
    assert [path.name for path in tmp_path.iterdir() if "ledger" in path.name] == ["ledger.csv"]
    lines = run("ledger", "export", "--all", "--json", "--data", data).out.splitlines()
    assert len(lines) == 4
    assert '"amount":620.00' in lines[0]
    assert json.loads(lines[0])["kind"] == "AUTHORISED"


@pytest.mark.usefixtures("sold")
def test_a_file_that_cannot_be_written_is_told_by_the_name_that_was_given(
    run: Run, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for out, why in (
        (tmp_path / "nope" / "x.csv", "No such file or directory"),
        (tmp_path / "file" / "x.csv", "Not a directory"),
        (tmp_path / "folder", "Is a directory"),
        (Path("/"), "it is a folder"),
    ):
        told = run("ledger", "export", "--all", "--csv", out, "--data", data)
        assert (told.status, told.err.splitlines()[-1]) == (1, f"ticketd: {out} cannot be written: {why}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file", "folder"]


@pytest.mark.usefixtures("sold")
def test_a_damaged_memory_of_the_sandbox_is_told_in_a_sentence(run: Run, data: Path) -> None:
    ledger = data / SANDBOX_FILE
    ledger.write_bytes(b"a shopping list, not a ledger\n" * 100)
    told = run("reconcile", "--data", data)
    assert told.status == 1
    assert f"{ledger} cannot serve as the ledger of the sandbox: file is not a database" in told.err
    assert "internal" not in told.err
    small = {"TICKETD_STORAGE_MAP_SIZE_BYTES": str(256 * 1024 * 1024)}
    served = ticketd(data, "serve", environ=small)
    assert served.returncode == 1
    (sentence,) = (line for line in served.stderr.splitlines() if line.startswith("ticketd: "))
    assert sentence.startswith(f"ticketd: {ledger} cannot serve as the ledger of the sandbox: ")


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize(("span", "count"), [("--from", 0), ("--to", 4)])
def test_a_time_bounds_what_is_written(run: Run, data: Path, span: str, count: int) -> None:
    told = run("ledger", "export", "--all", span, "2100-01-01", "--data", data)
    assert told.out.count("\r\n") == 1 + count


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--all", "--event", str(EVENT)),
        ("--event", "nine"),
        ("--all", "--from", "soon"),
        ("--all", "--to", "2026-08-15T10:00:00"),
    ],
)
def test_a_wrong_command_line(run: Run, data: Path, arguments: tuple[str, ...]) -> None:
    assert run("ledger", "export", *arguments, "--data", data).status == 2


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-08-15", "2026-08-15T00:00:00Z"),
        ("2026-08-15T10:00:00Z", "2026-08-15T10:00:00Z"),
        ("2026-08-15T10:00:00+02:00", "2026-08-15T08:00:00Z"),
    ],
)
def test_times_of_the_command_line(text: str, time: str) -> None:
    assert when(text) == time


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx", "\rx"])
def test_a_text_that_a_spreadsheet_would_reckon_with(text: str) -> None:
    assert plain(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "pi_1", "a=1", "re-1"])
def test_a_text_that_is_one(text: str) -> None:
    assert plain(text) == text


def test_reconciling_a_store_with_its_gateway(run: Run, data: Path, sold: list[str]) -> None:
    told = run("reconcile", "--data", data)
    assert (told.status, told.out) == (0, "2 payments compared, 0 under way, 0 differ\n")
    listed = run("ledger", "export", "--all", "--json", "--data", data).out.splitlines()
    ref = next(json.loads(line)["payment_ref"] for line in listed if sold[0] in line)

    async def refund_by_hand() -> None:
        with visit_sandbox(data) as gateway:
            await gateway.refund(ref, 100, "by hand")

    trio.run(refund_by_hand)
    told = run("reconcile", "--event", EVENT, "--data", data)
    assert told.status == 1
    assert told.out.startswith(f"REFUNDS_DIFFER: order {sold[0]} of event {EVENT}, payment {ref}: here ")
    assert told.out.endswith("\n2 payments compared, 0 under way, 1 differs\n")
    assert told.err == "ticketd: the ledger and the gateway differ in 1 of 2 payments\n"
    difference, summary = map(json.loads, run("reconcile", "--json", "--data", data).out.splitlines())
    assert difference["kind"] == "REFUNDS_DIFFER"
    assert summary == {"compared": 2, "under_way": 0, "differences": 1, "at_tills": 0}


class _DisputedAtTheBank(SandboxGateway):
    """The sandbox, with a bank behind it that has asked about each payment."""

    async def list_payments(self, since_ms: int, cursor: str | None = None) -> PaymentPage:
        page = await super().list_payments(since_ms, cursor)
        return replace(page, payments=tuple(replace(one, is_disputed=True) for one in page.payments))

    async def fetch(self, payment_ref: str) -> PaymentSnapshot | None:
        found = await super().fetch(payment_ref)
        return None if found is None else replace(found, is_disputed=True)

    async def disputes_of(self, payment_ref: str) -> tuple[DisputeSnapshot, ...]:
        payment = await self.fetch(payment_ref)
        assert payment is not None
        return (
            DisputeSnapshot(
                dispute_ref=f"dp_{payment_ref}",
                payment_ref=payment_ref,
                order_id=payment.order_id,
                state=DisputeState.OPEN,
                amount_minor=payment.amount_minor,
                currency=payment.currency,
                reason="fraudulent",
            ),
        )


@pytest.mark.usefixtures("sold")
def test_a_disputed_payment_is_looked_at_with_the_daemon_down(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_: object, data: Path, *__: object) -> SandboxGateway:
        return _DisputedAtTheBank(data / SANDBOX_FILE, now_ms=lambda: 0, public_url="", inline=True)

    monkeypatch.setattr(visits, "open_gateway", opened)
    told = run("reconcile", "--json", "--data", data)
    *differences, summary = map(json.loads, told.out.splitlines())
    assert [difference["kind"] for difference in differences] == ["DISPUTES_DIFFER"] * 2, told.err
    assert summary["compared"] == 2


@pytest.mark.usefixtures("sold")
def test_payments_that_the_gateway_has_lost_are_each_asked_for(run: Run, data: Path) -> None:
    (data / SANDBOX_FILE).unlink()
    told = run("reconcile", "--json", "--data", data)
    assert told.status == 1
    *differences, summary = map(json.loads, told.out.splitlines())
    assert [difference["kind"] for difference in differences] == ["UNKNOWN_AT_GATEWAY"] * 2
    assert summary == {"compared": 2, "under_way": 0, "differences": 2, "at_tills": 0}


@pytest.mark.usefixtures("sold")
def test_what_was_before_is_not_compared(run: Run, data: Path) -> None:
    told = run("reconcile", "--since", "2100-01-01", "--data", data)
    assert told.out == "0 payments compared, 0 under way, 0 differ\n"


@pytest.mark.usefixtures("sold")
def test_with_the_daemon_up(data: Path) -> None:
    small = {"TICKETD_STORAGE_MAP_SIZE_BYTES": str(256 * 1024 * 1024)}
    with serving(data, environ=small):
        exported = ticketd(data, "ledger", "export", "--all", environ=small)
        assert (exported.returncode, len(exported.stdout.splitlines())) == (0, 5), exported.stderr
        told = ticketd(data, "reconcile", environ=small)
        assert told.stdout == "2 payments compared, 0 under way, 0 differ\n", told.stderr
        assert told.returncode == 0
