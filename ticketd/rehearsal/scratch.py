"""A daemon of the rehearsal's own: a scratch data folder, an event made for it, a key, and settings that are quick.

It is the real daemon, started as an operator would start it: a process of its own over a real store, with its log in a
file of the scratch folder. What differs is said in ``SETTINGS_DIFFER``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from ticketd.rehearsal.client import parse_origin
from ticketd.rehearsal.fairness import MAP_BYTES, StoreFacts, read_store
from ticketd.rehearsal.judgement import StoreCheck
from ticketd.rehearsal.stage import ScratchPlace, Stage

SETTINGS_DIFFER: Final = (
    "the daemon is started for this rehearsal: buyers poll more often than its defaults say, and one address may send "
    "for all of them"
)
STOP_SECONDS: Final = 30
_COMMAND_SECONDS: Final = 120
_SEATS_A_ROW: Final = 25
_ROWS_A_SECTION: Final = 20
_POLLS_PER_SECOND: Final = 250
"""So often all who wait ask together, about: the more buyers, the longer each one's interval."""
_LOBBY_HEAD_START_SECONDS: Final = 10
_LISTENS: Final = re.compile(r"listens on (?P<url>http://\S+)")


class ScratchFailed(Exception):
    """The daemon of the rehearsal could not be made, started or ended: the text says why, for the operator."""


class ScratchPlan(Struct, frozen=True, kw_only=True):
    """What the scratch daemon and its event are made from. ``folder``: None for a temporary one; a named one is kept,
    as any is with ``keep``."""

    buyers: int
    seats: int
    max_active: int
    admit_per_minute: int
    hold_seconds: int
    arrive_seconds: float
    lobby: bool
    keep: bool
    folder: Path | None = None


@contextmanager
def scratch_folder(plan: ScratchPlan) -> Iterator[Path]:
    """The folder of the rehearsal; removed at the end unless it is to be kept. Refuses one that is not empty."""
    if plan.folder is not None:
        plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(plan.folder.iterdir()):
            raise ScratchFailed(f"the folder {plan.folder} is not empty; a rehearsal takes a fresh one")
        yield plan.folder
        return
    folder = Path(tempfile.mkdtemp(prefix="ticketd-rehearsal-"))
    try:
        yield folder
    finally:
        if not plan.keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_stage(plan: ScratchPlan, folder: Path) -> Iterator[Stage]:
    """Makes the store, starts the daemon, and ends it at the end of the block. Raises ScratchFailed."""
    data, log = folder / "data", folder / "daemon.log"
    (folder / "ticketd.toml").write_text(settings_text(plan))
    event = event_file(plan, datetime.now(UTC))
    (folder / "event.json").write_bytes(msgspec.json.encode(event))
    _ticketd(folder, "import", str(folder / "event.json"))
    key = _ticketd(folder, "keys", "create", "--scope", "storefront", "--name", "rehearsal").strip()
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            _command(folder, "serve", "--bind", "127.0.0.1:0"),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environ(),
            # A Ctrl-C is for the rehearsal, which ends the daemon once it has asked what it needs.
            start_new_session=True,
        )
    try:
        url = _where_it_listens(process, log)
        place = ScratchPlace(pid=process.pid, data=data, log=log)
        yield Stage(origin=parse_origin(url), api_key=key, event_id=str(event["event_id"]), scratch=place)
    finally:
        _end(process)


def check_store(folder: Path, event_id: str) -> StoreCheck:
    """What the store says, once the daemon has ended. Raises ScratchFailed if it cannot be read."""
    verified = subprocess.run(  # noqa: S603 - our own command line
        _command(folder, "verify", "--json"),
        capture_output=True,
        text=True,
        env=_environ(),
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if verified.returncode not in {0, 1} or not verified.stdout:
        raise ScratchFailed(f"the store could not be verified: {verified.stderr.strip()}")
    lines = [msgspec.json.decode(line, type=dict[str, object]) for line in verified.stdout.splitlines()]
    problems = [
        f"{line['invariant']} at {line['where']}: {line['text']}" for line in lines if "invariant" in line
    ]
    facts: StoreFacts = read_store(folder / "data", event_id)
    return StoreCheck(facts=facts, problems=problems)


def settings_text(plan: ScratchPlan) -> str:
    """The settings of the scratch daemon, as a TOML file."""
    poll = min(60, max(1, plan.buyers // _POLLS_PER_SECOND))
    return "\n".join(
        (
            "[server]",
            "# All buyers come from one address.",
            "max_connections_per_address = 1000000",
            "[storage]",
            f"map_size_bytes = {MAP_BYTES}",
            "[log]",
            'format = "json"',
            "[rooms]",
            f"poll_interval_seconds = {poll}",
            f"poll_interval_max_seconds = {4 * poll}",
            "[rate_limits]",
            "# A buyer's own limits stay as they are, but for the polls, which are as frequent as the daemon asks for.",
            f"queue_status_per_minute = {2 * 60 // poll}",
            "queue_status_burst = 4",
            "# The same, and by one storefront's key.",
            "sessions_per_minute = 1000000",
            "event_details_per_minute = 1000000",
            "",
        )
    )


def event_file(plan: ScratchPlan, now: datetime) -> dict[str, object]:
    """The event of a rehearsal: one price, rows of 25, on sale now or, with a lobby, soon after the last has come."""
    rows, rest = divmod(plan.seats, _SEATS_A_ROW)
    sizes = [_SEATS_A_ROW] * rows + ([rest] if rest else [])
    sections = [sizes[at : at + _ROWS_A_SECTION] for at in range(0, len(sizes), _ROWS_A_SECTION)]
    opens = now - timedelta(minutes=1)
    if plan.lobby:
        opens = now + timedelta(seconds=plan.arrive_seconds + _LOBBY_HEAD_START_SECONDS)
    return {
        "event_id": str(uuid4()),
        "name": "Rehearsal",
        "venue": {"name": "Rehearsal Hall", "city": "Nowhere", "country": "US", "timezone": "UTC"},
        "date": _time(now + timedelta(days=30)),
        "sale": {"general_sale_start": _time(opens)},
        "currency": "USD",
        "tax_rate": "0.09",
        "hold_seconds": plan.hold_seconds,
        "tiers": [{"name": "Seat", "price": "50.00", "fees": "5.00"}],
        "sections": [
            {
                "name": f"Section {number}",
                "tier": "Seat",
                "rows": [{"row": str(row), "first": 1, "last": size} for row, size in enumerate(sizes, 1)],
            }
            for number, sizes in enumerate(sections, 1)
        ],
        "waiting_room": {
            "enabled": True,
            "capacity": max(plan.buyers, 1000),
            "max_active": plan.max_active,
            "admit_per_minute": plan.admit_per_minute,
            "lobby_opens": _time(now - timedelta(minutes=1)) if plan.lobby else None,
            "claim_seconds": _claim_seconds(plan),
            "access_seconds": _claim_seconds(plan) + plan.hold_seconds,
        },
    }


def _claim_seconds(plan: ScratchPlan) -> int:
    """Long enough for the longest interval of polling twice over, and never under a quarter of a minute."""
    return max(15, 8 * max(1, plan.buyers // _POLLS_PER_SECOND))


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _command(folder: Path, *arguments: str) -> list[str]:
    common = ("--config", str(folder / "ticketd.toml"), "--data", str(folder / "data"))
    return [sys.executable, "-m", "ticketd", *arguments, *common]


def _environ() -> dict[str, str]:
    """The environment without settings: those of the operator's own daemon are not for this one."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TICKETD_")}


def _ticketd(folder: Path, *arguments: str) -> str:
    """Runs one command to its end; what it printed."""
    done = subprocess.run(  # noqa: S603 - our own command line
        _command(folder, *arguments),
        capture_output=True,
        text=True,
        env=_environ(),
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise ScratchFailed(f"'ticketd {arguments[0]}' failed: {done.stderr.strip()}")
    return done.stdout


def _where_it_listens(process: subprocess.Popen[bytes], log: Path) -> str:
    if process.stdout is None:
        raise AssertionError("its output is a pipe")
    line = process.stdout.readline().decode()
    found = _LISTENS.search(line)
    if found is None:
        process.wait(STOP_SECONDS)
        raise ScratchFailed(f"the daemon did not start: {line}{log.read_text()[-2000:]}")
    return found["url"]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the daemon to end, and ends it if it does not. Raises ScratchFailed if it did not end well."""
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise ScratchFailed(f"the daemon did not end within {STOP_SECONDS} s of SIGTERM") from None
    finally:
        if process.stdout is not None:
            process.stdout.close()
    if status != 0:
        raise ScratchFailed(f"the daemon ended with status {status}")
