"""``ticketd reconcile``: holds the ledger against the payment gateway, and names each difference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from storage.schema.movements import BOX_OFFICE
from ticketd.cli.backend import Backend, call
from ticketd.cli.counts import counted
from ticketd.cli.failures import CommandFailed
from ticketd.cli.ledger import event_ids, list_movements, when
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend


class _Difference(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    order_id: UUID
    event_id: UUID | None
    payment_ref: str
    here: str
    there: str


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    payment_refs: list[str]
    under_way: int
    differences: list[_Difference]
    next: str | None


class _Summary(msgspec.Struct, frozen=True, kw_only=True):
    compared: int
    under_way: int
    differences: int
    at_tills: int


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``reconcile`` to the command line."""
    parser = commands.add_parser(
        "reconcile",
        help="hold the ledger against the payment gateway",
        description="Compares every payment of the gateway, and every order whose money moved, with each other, and "
        "names what differs: a payment that one of the two does not know, amounts, states, refunds, disputes. Orders "
        "whose money is under way are counted and not named, and so are those that were paid at a till, which no "
        "gateway knows. Changes nothing. Works with the daemon up and down. Ends with 0 only "
        "if all agrees.",
    )
    parser.add_argument("--event", metavar="ID", type=UUID, help="only the orders of this event")
    parser.add_argument(
        "--since", metavar="TIME", type=when, help="only payments from this time on, or this day"
    )
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_reconcile)


def run_reconcile(arguments: argparse.Namespace) -> None:
    """Prints each difference as it is found, as JSON one a line with the counts last. Raises CommandFailed if there
    was one."""
    compared = under_way = found = 0
    at_tills: set[UUID] = set()
    with open_backend(load_for(arguments)) as backend:
        for page in _pages(backend, arguments.event, arguments.since, at_tills):
            compared += len(page.payment_refs)
            under_way += page.under_way
            found += len(page.differences)
            for difference in page.differences:
                print(
                    msgspec.json.encode(difference).decode() if arguments.json else _told(difference),
                    flush=True,
                )
    summary = _Summary(compared=compared, under_way=under_way, differences=found, at_tills=len(at_tills))
    if arguments.json:
        print(msgspec.json.encode(summary).decode())
    else:
        differ = "1 differs" if found == 1 else f"{found} differ"
        print(f"{counted(compared, 'payment')} compared, {under_way} under way, {differ}")
        if at_tills:
            were = "order was paid at a till" if len(at_tills) == 1 else "orders were paid at tills"
            print(f"{len(at_tills)} {were}, which no gateway can be asked about")
    if found:
        raise CommandFailed(f"the ledger and the gateway differ in {found} of {counted(compared, 'payment')}")


def _pages(
    backend: Backend, event_id: UUID | None, since: str | None, at_tills: set[UUID]
) -> Iterator[_Page]:
    """What the gateway lists, page by page; then, one by one, the orders whose payments it did not list. Those
    of tills are put into ``at_tills``."""
    seen: set[str] = set()
    wish = {"event_id": None if event_id is None else str(event_id), "since": since, "cursor": None}
    while True:
        page = _ask(backend, "", wish)
        seen.update(page.payment_refs)
        yield page
        if page.next is None:
            break
        wish["cursor"] = page.next
    for of_event in event_ids(backend, event_id):
        for movement in list_movements(backend, of_event, {"since": since}):
            if movement.gateway == BOX_OFFICE:
                at_tills.add(movement.order_id)
            elif movement.payment_ref not in seen:
                seen.add(movement.payment_ref)
                yield _ask(backend, f"/{movement.order_id}", {"event_id": str(of_event)})


def _ask(backend: Backend, place: str, wish: dict[str, str | None]) -> _Page:
    query = urlencode({name: value for name, value in wish.items() if value is not None})
    return msgspec.json.decode(call(backend, "GET", f"/v1/operator/reconcile{place}?{query}"), type=_Page)


def _told(difference: _Difference) -> str:
    event = "" if difference.event_id is None else f" of event {difference.event_id}"
    return (
        f"{difference.kind}: order {difference.order_id}{event}, payment {difference.payment_ref}: "
        f"here {difference.here}; at the gateway {difference.there}"
    )
