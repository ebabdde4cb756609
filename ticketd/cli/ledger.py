"""``ticketd ledger export``: the movements of money for an accountant, one line each."""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from ticketd.cli.backend import Backend, call
from ticketd.cli.failures import CommandFailed
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend
from ticketd.cli.tables import fetch_pages

_PER_PAGE: Final = 1_000
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""
_CHANGES: Final = {"CAPTURED": 1, "REFUNDED": -1, "DISPUTED": -1, "DISPUTE_WON": 1}
"""The kinds that change what the seller has, and in which direction."""
_HEAD: Final = (
    "time",
    "order_id",
    "number",
    "event_id",
    "kind",
    "amount",
    "change",
    "currency",
    "gateway",
    "payment_ref",
    "movement_ref",
)


class ListedMovement(msgspec.Struct, frozen=True, kw_only=True):
    """A movement as the daemon tells of it."""

    at: str
    event_id: UUID
    order_id: UUID
    number: int
    kind: str
    amount: Decimal
    currency: str
    gateway: str
    payment_ref: str
    movement_ref: str


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    movements: list[ListedMovement]
    next: str | None


_PAGE: Final = msgspec.json.Decoder(_Page)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``ledger`` to the command line."""
    parser = commands.add_parser(
        "ledger", help="movements of money", description="The ledger of all money that moved."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    export = actions.add_parser(
        "export",
        help="write the movements of money, one line each",
        description="Writes the movements of money, by event and time: CSV (RFC 4180), or JSON with --json, one line a "
        "movement. Times are UTC. A text that a spreadsheet would take for a formula begins with an apostrophe. The "
        "totals follow on standard error. Works with the daemon up and down.",
    )
    which = export.add_mutually_exclusive_group(required=True)
    which.add_argument("--event", metavar="ID", type=UUID, help="the movements of this event")
    which.add_argument("--all", action="store_true", help="the movements of all events")
    export.add_argument(
        "--from", dest="since", metavar="TIME", type=when, help="from this time on, or this day"
    )
    export.add_argument("--to", dest="until", metavar="TIME", type=when, help="before this time, or this day")
    export.add_argument("--csv", metavar="FILE", default="-", help="where to write; - is standard output")
    add_common_options(export)
    add_json_option(export)
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> None:
    """Writes the movements, then their totals."""
    span = {"since": arguments.since, "until": arguments.until}
    totals: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    with open_backend(load_for(arguments)) as backend, _opened(arguments.csv) as out:
        write = csv.writer(out, lineterminator="\r\n").writerow
        if not arguments.json:
            write(_HEAD)
        for event_id in event_ids(backend, arguments.event):
            for movement in list_movements(backend, event_id, span):
                totals[movement.currency, movement.kind] += movement.amount
                if arguments.json:
                    out.write(_ENCODER.encode(movement).decode() + "\n")
                else:
                    write(_row(movement))
    for (currency, kind), amount in sorted(totals.items()):
        print(f"{kind} {amount} {currency}", file=sys.stderr)
    for currency in sorted({currency for currency, _ in totals}):
        print(f"balance {_balance(totals, currency)} {currency}", file=sys.stderr)


def event_ids(backend: Backend, event_id: UUID | None) -> list[UUID]:
    """The event that was named, or all of them."""
    if event_id is not None:
        return [event_id]
    listed = fetch_pages(backend, "/v1/operator/events", "events")
    return [event.event_id for event in msgspec.convert(listed, list[_Event])]


def list_movements(backend: Backend, event_id: UUID, span: dict[str, str | None]) -> Iterator[ListedMovement]:
    """An event's movements, oldest first, page after page."""
    wish = {"event_id": str(event_id), "per_page": str(_PER_PAGE)}
    wish.update({name: time for name, time in span.items() if time is not None})
    while True:
        page = _PAGE.decode(call(backend, "GET", f"/v1/operator/ledger?{urlencode(wish)}"))
        yield from page.movements
        if page.next is None:
            return
        wish["after"] = page.next


def when(text: str) -> str:
    """A time of the command line as the API takes it: RFC 3339 with an offset, or a day, which begins at 00:00 UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day nor a time") from None
    if time.tzinfo is None:
        if len(text) > len("2026-08-15"):
            raise argparse.ArgumentTypeError(f"{text!r} does not say in which zone; Z is UTC")
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    event_id: UUID


def _row(movement: ListedMovement) -> tuple[object, ...]:
    change = _CHANGES.get(movement.kind, 0) * movement.amount
    return (
        movement.at,
        movement.order_id,
        movement.number,
        movement.event_id,
        movement.kind,
        movement.amount,
        change or movement.amount - movement.amount,
        movement.currency,
        plain(movement.gateway),
        plain(movement.payment_ref),
        plain(movement.movement_ref),
    )


def _balance(totals: dict[tuple[str, str], Decimal], currency: str) -> Decimal:
    amounts = {kind: amount for (of, kind), amount in totals.items() if of == currency}
    nothing = next(iter(amounts.values())) * 0
    return sum((sign * amounts.get(kind, nothing) for kind, sign in _CHANGES.items()), nothing)


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    """Where the lines go. A file is there, whole, only once all of them are written."""
    if name == "-":
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(name)
    if not path.name:
        raise CommandFailed(f"{path} cannot be written: it is a folder")
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _told_of(path):
            out = part.open("x", encoding="utf-8", newline="")
        with out:
            yield out
        with _told_of(path):
            part.replace(path)
    finally:
        # A path through what is no folder has nothing to take away.
        with contextlib.suppress(NotADirectoryError):
            part.unlink(missing_ok=True)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Failures are told of the file that was asked for, not of the one that is written first."""
    try:
        yield
    except OSError as failure:
        raise CommandFailed(f"{path} cannot be written: {failure.strerror}") from failure
