"""The tour that ``serve --demo`` prints, run by a shell as a new user would paste it; and what the log says of it."""

from __future__ import annotations

import email
import email.policy
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from tests.support.process import DaemonProcess, serving, ticketd
from ticketd.demo.demo import KEY_FILE
from ticketd.demo.tour import tour_text

TOUR_SECONDS = 120

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")


class Toured:
    """A demonstration after its tour."""

    def __init__(self, daemon: DaemonProcess, data: Path, folder: Path, printed: str) -> None:
        self.daemon = daemon
        self.data = data
        self.folder = folder
        self.printed = printed
        self.key = (data / KEY_FILE).read_text().strip()
        self.ran = self.run()

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs what was printed, line by line, as if it were pasted into a shell."""
        tour = self.printed[self.printed.index("# --- 0") :]
        return subprocess.run(
            ["bash", "-euo", "pipefail"],
            input=tour,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=TOUR_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toured]:
    folder = tmp_path_factory.mktemp("tour")
    data = folder / "data"
    with serving(data, "--demo", environ={"TICKETD_LOG_LEVEL": "debug"}) as daemon:
        yield Toured(daemon, data, folder, read_until_tour_ends(daemon))
        assert daemon.stop() == 0
    verified = ticketd(data, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def read_until_tour_ends(daemon: DaemonProcess) -> str:
    assert daemon.process.stdout is not None
    lines: list[str] = []
    while not lines or "/cancel" not in lines[-1]:
        line = daemon.process.stdout.readline()
        assert line, "the daemon ended before it had printed its tour"
        lines.append(line)
    return "".join(lines)


def test_the_tour_runs_to_its_end(toured: Toured) -> None:
    assert (toured.ran.returncode, toured.ran.stderr) == (0, "")


def test_what_is_printed_is_the_tour_with_the_address_and_the_key(toured: Toured) -> None:
    assert f"address: {toured.daemon.url}\nAPI key: {toured.key}\n" in toured.printed
    assert tour_text(toured.daemon.url, toured.key, str(toured.data / "outbox")) in toured.printed


def test_three_seats_cost_what_they_should_to_the_cent(toured: Toured) -> None:
    held = document_with(toured, "grand_total")
    assert [held[name] for name in ("total_price", "fees", "total", "taxes", "grand_total")] == [
        "1500.00",
        "225.00",
        "1725.00",
        "135.00",
        "1860.00",
    ]
    order = document_with(toured, "payment_status")
    assert [order[name] for name in ("subtotal", "fees", "taxes", "total")] == [
        "1500.00",
        "225.00",
        "135.00",
        "1860.00",
    ]
    assert (order["status"], order["payment_status"]) == ("PENDING", "AUTHORIZED")
    (details,) = (line for line in toured.ran.stdout.splitlines() if line.startswith('{"order_id"'))
    assert '"total":1860.00,"status":"CONFIRMED","payment_status":"CAPTURED"' in details


def test_the_ticket_has_a_code_and_a_pdf(toured: Toured) -> None:
    with Image.open(toured.folder / "ticket.png") as picture:
        (code,) = zxingcpp.read_barcodes(picture.convert("L"))
    assert code.text.startswith("TKD1:")
    assert (toured.folder / "ticket.pdf").read_bytes().startswith(b"%PDF-")


def test_the_friend_gets_a_mail(toured: Toured) -> None:
    assert document_with(toured, "transfer_id")["status"] == "PENDING"
    (mail,) = (toured.data / "outbox").glob("*.eml")
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    assert "friend@example.com" in str(message["to"])


def test_the_second_order_is_cancelled(toured: Toured) -> None:
    cancelled = document_with(toured, "refund_status")
    assert (cancelled["status"], cancelled["refund_status"]) == ("CANCELLED", "PROCESSING")


def test_no_secret_is_in_the_log(toured: Toured) -> None:
    log = toured.daemon.log.read_text()
    assert '"route": "/v1/orders"' in log
    (mail,) = (toured.data / "outbox").glob("*.eml")
    text = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    body = text.get_body(("plain",))
    assert body is not None
    (claim_token,) = set(re.findall(r"token=([\w%.~-]+)", body.get_content()))
    picture = Image.open(toured.folder / "ticket.png")
    with picture:
        ticket_code = zxingcpp.read_barcodes(picture.convert("L"))[0].text
    secrets = {
        "the API key": toured.key.split("_", 2)[2],
        "a JSON web token": "eyJ",
        "a card token": "tok_visa",
        "the claim token": claim_token,
        "a ticket's code": ticket_code.removeprefix("TKD1:"),
        "a street": "123 Main St",
        "a mail address": "friend@example.com",
    }
    assert [what for what, text in secrets.items() if text in log] == []


def test_the_key_is_for_the_owner_alone(toured: Toured) -> None:
    assert stat.S_IMODE((toured.data / KEY_FILE).stat().st_mode) == 0o600


def test_a_second_start_finds_what_the_first_one_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = []
    for _ in range(2):
        with serving(data, "--demo") as daemon:
            printed.append(read_until_tour_ends(daemon).replace(daemon.url, "URL"))
            status = json.loads(ticketd(data, "status", "--json").stdout)
            assert daemon.stop() == 0
        assert len(status["events"]) == 3
    assert printed[0].split("\n", 1)[1] == printed[1].split("\n", 1)[1]
    assert len(json.loads(ticketd(data, "keys", "list", "--json").stdout)) == 1


def document_with(toured: Toured, name: str) -> dict[str, Any]:
    """The first JSON document of the tour's output that has this field; its decimals as they were printed."""
    for text in re.findall(r"^\{\n.*?^\}$", toured.ran.stdout, re.MULTILINE | re.DOTALL):
        document: dict[str, Any] = json.loads(text, parse_float=str)
        if name in document:
            return document
    raise AssertionError(f"nothing with {name} was printed: {toured.ran.stdout}{toured.ran.stderr}")
