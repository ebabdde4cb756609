"""``ticketd refund``: giving back the money of an order, or of some of its tickets."""

from __future__ import annotations

import argparse
from decimal import Decimal
from uuid import UUID

import msgspec

from ticketd.cli.backend import call
from ticketd.cli.counts import counted
from ticketd.cli.options import Commands, add_common_options, add_json_option, load_for
from ticketd.cli.reach import open_backend


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as the daemon tells of it. ``amount`` is kept as it was written."""

    refund_id: UUID
    status: str
    amount: msgspec.Raw
    currency: str
    ticket_ids: list[UUID]
    whole_order: bool


def add_command(commands: Commands[argparse.ArgumentParser]) -> None:
    """Adds ``refund`` to the command line."""
    parser = commands.add_parser(
        "refund",
        help="give back the money of an order",
        description="Gives back the money of an order, or of some of its tickets. The tickets end, and their seats are "
        "on sale again.",
    )
    parser.add_argument("order_id", metavar="ORDER_ID", type=_uuid)
    parser.add_argument(
        "--ticket",
        metavar="ID",
        type=_uuid,
        action="append",
        help="this ticket alone; may be repeated",
    )
    fees = parser.add_mutually_exclusive_group()
    fees.add_argument(
        "--with-fees", dest="with_fees", action="store_const", const=True, help="fees go back too"
    )
    fees.add_argument(
        "--without-fees", dest="with_fees", action="store_const", const=False, help="fees are kept"
    )
    parser.add_argument(
        "--even-used", action="store_true", help="also tickets that were used, or went to another person"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for the records")
    add_common_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run_refund)


def run_refund(arguments: argparse.Namespace) -> None:
    """Asks for a refund and prints what goes back."""
    body: dict[str, object] = {"even_used": arguments.even_used, "reason": arguments.reason}
    if arguments.ticket:
        body["ticket_ids"] = [str(ticket) for ticket in arguments.ticket]
    if arguments.with_fees is not None:
        body["with_fees"] = arguments.with_fees
    with open_backend(load_for(arguments)) as backend:
        told = call(backend, "POST", f"/v1/operator/orders/{arguments.order_id}/refund", body)
    if arguments.json:
        print(told.decode())
        return
    refund = msgspec.json.decode(told, type=Refund)
    what = "the whole order" if refund.whole_order else counted(len(refund.ticket_ids), "ticket")
    amount = bytes(refund.amount).decode()
    state = "given back" if refund.status == "DONE" else "on its way back"
    if not Decimal(amount):
        state = "nothing is left to give back"
    print(f"{amount} {refund.currency} for {what}: {state} (refund {refund.refund_id})")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a UUID") from None
