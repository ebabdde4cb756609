"""A store in which a sale was really played, with everything in it that verification looks at, and ways to damage it.

What a test changes is laid over the store and never written to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
import trio
import trio.testing

from config.settings import StorageSettings
from storage.clock import SystemClock
from storage.engine import Command, Partition
from storage.keys import Part
from storage.open import open_reader
from storage.overlay import Overlay
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EventId, TicketId, TransferId, UserId
from storage.schema.layout import EVENT_IDS, SALE, SYSTEM, event_partition
from storage.schema.records import MailRecord
from storage.schema.tables import Table
from storage.verify import verify_store
from tests.support.daemon import START_MS, Client, Daemon, open_daemon
from tests.support.events import arena_file, put_plan, room
from tests.support.shopping import enter, wait_for_order
from ticketd.credentials.api_keys import Scope
from ticketd.domain.mails import queue_mail
from ticketd.domain.transfers import (
    AcceptTransfer,
    OfferTransfer,
    accept_transfer,
    claim_hash_of,
    end_partitions,
    offer_partitions,
    offer_transfer,
)

R = TypeVar("R", bound=msgspec.Struct)

DAY_MS = 86_400_000
CLAIM_TOKEN = "a-claim-token"
ADDRESS = {"street": "1 Pier Road", "city": "New York", "postal_code": "10001", "country": "US"}


class Damage:
    """The good store, and what a test lays over it. ``event`` is the sale that was played, ``lobby`` the other one."""

    def __init__(self, tx: Overlay) -> None:
        self.tx = tx
        events = [EventId(key) for (key,) in EVENT_IDS.scan(tx, SYSTEM) if isinstance(key, UUID)]
        in_lobby = {event: _sale_starts_ms(tx, event) > START_MS for event in events}
        (self.event_id,) = (event for event in events if not in_lobby[event])
        (lobby_id,) = (event for event in events if in_lobby[event])
        self.event = event_partition(self.event_id)
        self.lobby = event_partition(lobby_id)

    def find(self, table: Table[R], **fields: object) -> R:
        """The event's first record with these fields."""
        for _, record in table.scan(self.tx, self.event):
            if all(getattr(record, name) == value for name, value in fields.items()):
                return record
        raise LookupError(f"{table.name} has none with {fields}")

    def change(self, table: Table[R], *parts: Part, **fields: object) -> R:
        """Changes fields of the event's record at ``parts``; the record as it is then."""
        return self.change_in(self.event, table, *parts, **fields)

    def change_in(self, partition: Partition, table: Table[R], *parts: Part, **fields: object) -> R:
        """The same in another partition."""
        record = table.get(self.tx, partition, *parts)
        assert record is not None
        changed = msgspec.structs.replace(record, **fields)
        assert changed != record
        table.put(self.tx, changed, partition, *parts)
        return changed

    def found(self) -> list[str]:
        """The names of the invariants that do not hold now, once for each problem."""
        return sorted(problem.invariant for problem in verify_store(self.tx))

    def texts(self) -> list[str]:
        """The problems as they are told."""
        return [str(problem) for problem in verify_store(self.tx)]

    def counted(self) -> Counter[str]:
        """How often each invariant does not hold now."""
        return Counter(self.found())


@contextmanager
def open_damage(data: Path) -> Iterator[Damage]:
    """The good store of a folder, to be damaged."""
    settings = StorageSettings(map_size_bytes=256 * 1024 * 1024)
    with open_reader(data, settings, SystemClock(), EVENT_CODEC) as reads, reads.snapshot() as snapshot:
        yield Damage(Overlay(snapshot, START_MS + DAY_MS, None))


def play_good_store(data: Path) -> None:
    """Plays the sale through the API into the folder ``data``."""
    trio.run(_play, data, clock=trio.testing.MockClock(autojump_threshold=0))


async def _play(data: Path) -> None:
    async with open_daemon(data) as daemon:
        event_id = await put_plan(daemon, arena_file(waiting_room=room(max_active=3)))
        await _fill_a_lobby(daemon)
        await _hold(daemon, event_id, 1)
        await trio.sleep(601)  # until it has run out
        await _sell_and_transfer(daemon, event_id)
        await _sell_and_cancel(daemon, event_id)
        payer, held = await _hold(daemon, event_id, 2)
        await _order(payer, held, "tok_threeDSecure2Required")
        decliner, held = await _hold(daemon, event_id, 1)
        await _order(decliner, held, "tok_chargeDeclined")
        releaser, held = await _hold(daemon, event_id, 1)
        assert (await releaser.delete(f"/v1/reservations/{held['reservation_id']}")).status == 204
        await _wait_in_line(daemon, event_id)
        await _block(daemon, event_id)


async def _fill_a_lobby(daemon: Daemon) -> None:
    plan = arena_file(
        name="Another Night",
        sale={"general_sale_start": "2026-08-01T10:00:00Z"},
        waiting_room=room(lobby_opens="2026-07-01T10:00:00Z"),
    )
    event_id = await put_plan(daemon, plan)
    for number in range(3):
        assert (await _join(daemon, event_id, f"lobby-{number}"))["status"] == "LOBBY"


async def _sell_and_transfer(daemon: Daemon, event_id: EventId) -> None:
    """An order of three tickets: one goes to another buyer, one is offered, one stays."""
    buyer, held = await _hold(daemon, event_id, 3)
    placed = await _order(buyer, held, "tok_visa")
    order = await wait_for_order(buyer, placed["order_id"], "CONFIRMED")
    sender = UserId(UUID(held["user_id"]))
    tickets = [TicketId(UUID(ticket["ticket_id"])) for ticket in order["tickets"]]
    given = await _offer(daemon, event_id, sender, tickets[0])
    await _offer(daemon, event_id, sender, tickets[1])
    recipient = UserId(uuid4())
    accept = AcceptTransfer(
        event_id=event_id,
        transfer_id=given,
        user_id=recipient,
        claim_token=CLAIM_TOKEN,
        ticket_id=TicketId(uuid4()),
        seed=bytes(32),
        kid=daemon.services.keys.ticket_key.kid,
    )
    await daemon.services.engine.submit(
        Command("accept", end_partitions(event_id, recipient), lambda tx: accept_transfer(tx, accept))
    )
    mail = MailRecord(
        mail_id=uuid4(),
        to="a@example.com",
        to_name="A",
        subject="S",
        text="T",
        due_at_ms=START_MS + 10 * DAY_MS,
    )
    await daemon.services.engine.submit(
        Command("mail", (event_partition(event_id),), lambda tx: queue_mail(tx, event_id, mail))
    )


async def _offer(daemon: Daemon, event_id: EventId, sender: UserId, ticket_id: TicketId) -> TransferId:
    offer = OfferTransfer(
        user_id=sender,
        ticket_id=ticket_id,
        transfer_id=TransferId(uuid4()),
        recipient_email="b@example.com",
        recipient_name="B",
        claim_hash=claim_hash_of(CLAIM_TOKEN),
        claim_link="http://tickets.test/claim",
        transfer_ms=7 * DAY_MS,
    )
    command = Command("offer", offer_partitions(event_id, sender), lambda tx: offer_transfer(tx, offer))
    return (await daemon.services.engine.submit(command)).result.transfer_id


async def _sell_and_cancel(daemon: Daemon, event_id: EventId) -> None:
    buyer, held = await _hold(daemon, event_id, 2)
    placed = await _order(buyer, held, "tok_visa")
    await wait_for_order(buyer, placed["order_id"], "CONFIRMED")
    assert (await buyer.post(f"/v1/orders/{placed['order_id']}/cancel")).status == 200
    await wait_for_order(buyer, placed["order_id"], "CANCELLED", payment="REFUNDED")


async def _hold(daemon: Daemon, event_id: EventId, quantity: int) -> tuple[Client, Any]:
    """A buyer who holds so many seats; what the hold was answered with, and the ``user_id``."""
    buyer, user_id = await enter(daemon, event_id)
    wish = {"event_id": str(event_id), "quantity": quantity, "user_id": str(user_id)}
    held = await buyer.post("/v1/seats/reserve", wish, headers={"idempotency-key": f"hold-of-{user_id}"})
    assert held.status == 201, held.body
    return buyer, held.json | {"user_id": str(user_id)}


async def _order(buyer: Client, held: Any, card_token: str) -> Any:
    """Orders what was held with the second of two cards; the answer."""
    await _add_card(buyer, "tok_mastercard")
    method_id = await _add_card(buyer, card_token)
    wish = {
        "reservation_id": held["reservation_id"],
        "payment_method_id": method_id,
        "billing_address": ADDRESS,
        "delivery_method": "MOBILE",
    }
    return (await buyer.post("/v1/orders", wish)).json


async def _add_card(buyer: Client, token: str) -> str:
    card = await buyer.post("/v1/payment-methods", {"type": "CARD", "card_token": token})
    assert card.status == 201, card.body
    return str(card.json["payment_method_id"])


async def _wait_in_line(daemon: Daemon, event_id: EventId) -> None:
    for number in range(3):
        assert (await _join(daemon, event_id, f"line-{number}"))["status"] == "QUEUED"
    user_id = uuid4()
    buyer = daemon.client(Scope.PUBLIC).with_token((await daemon.user(user_id)).token, "browser")
    wish = {"event_id": str(event_id), "user_id": str(user_id), "device_fingerprint": "browser"}
    assert (await buyer.post("/v1/queue/join", wish)).json["status"] == "QUEUED"
    leaver = await _join(daemon, event_id, "leaver")
    queued = daemon.client().with_token(leaver["queue_token"], "leaver")
    assert (await queued.delete("/v1/queue/leave")).status in {200, 204}


async def _join(daemon: Daemon, event_id: EventId, device: str) -> Any:
    wish = {"event_id": str(event_id), "user_id": str(uuid4()), "device_fingerprint": device}
    joined = await daemon.client().with_token(None, device).post("/v1/queue/join", wish)
    assert joined.status == 200, joined.body
    return joined.json


async def _block(daemon: Daemon, event_id: EventId) -> None:
    hall = (await daemon.client().get(f"/v1/events/{event_id}/seats")).json
    seats = [seat["seat_id"] for seat in hall["sections"][1]["rows"][0]["seats"][:4]]
    blocked = await daemon.operator().post(f"/v1/operator/events/{event_id}/block", {"seat_ids": seats})
    assert blocked.status == 200, blocked.body


def _sale_starts_ms(tx: Overlay, event_id: EventId) -> int:
    sale = SALE.get(tx, event_partition(event_id))
    assert sale is not None
    return sale.general_sale_start_ms
