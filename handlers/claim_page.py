"""The page behind the link in a claim mail: what is offered, until when, and how one takes it.

It changes nothing, since mail programs open links by themselves. Who the sender is, is not told.
"""

from __future__ import annotations

from handlers.call import AnyCall, Reply, parse_uuid
from handlers.pages import page, text_of
from handlers.services import Services
from handlers.wire.transfers import ClaimQuery
from storage.schema.ids import TransferId
from storage.schema.layout import EVENT, SYSTEM, event_partition
from ticketd.domain.claim_mail import Offer, venue_time
from ticketd.domain.sales import load_sale
from ticketd.domain.seat_labels import seat_labels
from ticketd.domain.ticket_book import load_ticket
from ticketd.domain.transfers import event_of_transfer, find_offer, is_open
from ticketd.errors import ErrorCode, Refusal


async def show_claim(services: Services, call: AnyCall) -> Reply:
    """200 with a page that tells of an offer and how to accept it; 410 once it has ended, 404 for a wrong link."""
    query = call.query_as(ClaimQuery)
    try:
        offer, open_still = _offer_behind(services, query)
    except Refusal:
        return page("No such offer", "<p>This link is not, or not completely, the one in the mail.</p>", 404)
    if not open_still:
        return page("This offer has ended", "<p>The ticket is not on offer any more.</p>", 410)
    return page("A ticket for you", _offer_html(services, offer, query.token))


def _offer_behind(services: Services, query: ClaimQuery) -> tuple[Offer, bool]:
    """The offer that a claim link opens, and whether it stands. Refuses TRANSFER_NOT_FOUND."""
    transfer_id = parse_uuid(query.transfer)
    if transfer_id is None:
        raise Refusal(ErrorCode.TRANSFER_NOT_FOUND)
    with services.engine.snapshot(SYSTEM) as view:
        event_id = event_of_transfer(view, TransferId(transfer_id))
    partition = event_partition(event_id)
    with services.engine.snapshot(partition) as view:
        transfer = find_offer(view, event_id, TransferId(transfer_id), query.token)
        event = EVENT.get(view, partition)
        if event is None:
            raise LookupError(f"event {event_id} has transfers and no record")
        (seat,) = seat_labels(view, event_id, [load_ticket(view, event_id, transfer.ticket_id).seat])
        offer = Offer(event, load_sale(view, event_id), seat, transfer)
        return offer, is_open(view, event_id, transfer, view.now_ms)


def _offer_html(services: Services, offer: Offer, claim_token: str) -> str:
    event, seat, zone = offer.event, offer.seat, offer.event.venue.timezone
    told = (
        ("Event", event.name),
        ("Date", venue_time(offer.sale.date_ms, zone)),
        ("Venue", f"{event.venue.name}, {event.venue.city}"),
        ("Seat", f"Section {seat.section}, row {seat.row}, seat {seat.seat}"),
        ("The offer stands until", venue_time(offer.transfer.expires_at_ms, zone)),
    )
    rows = "".join(f"<dt>{text_of(label)}</dt><dd>{text_of(text)}</dd>" for label, text in told)
    url = f"{services.public_url}/v1/transfers/{offer.transfer.transfer_id}/accept"
    line = (
        f"curl -X POST '{url}' -H 'X-API-Key: YOUR_KEY' -H 'Authorization: Bearer YOUR_USER_TOKEN' "
        f"-H 'Content-Type: application/json' -d '{{\"claim_token\":\"{claim_token}\"}}'"
    )
    return (
        f"<p>Somebody wants to give you a ticket.</p><dl>{rows}</dl>"
        "<p>To accept it, sign in at the seller of the ticket and open this link there. Until you accept, the ticket "
        "stays its sender's; if you do not want it, do nothing.</p>"
        f"<p>For a program, with the API key and your user token of the seller:</p><pre>{text_of(line)}</pre>"
    )
