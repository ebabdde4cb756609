"""Random walks of transfers against a naive model: at any time exactly one good code for each seat that is sold."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.schema.ids import TicketId, TransferId
from storage.schema.layout import TICKETS
from storage.schema.records import TicketRecord
from storage.schema.states import OrderState, TicketState
from tests.domain.refusals import refused
from tests.domain.ticket_stage import DATE_MS, TRANSFER_MS, TicketStage, tickets_stage, user_id
from ticketd.domain.tickets import VALID_TICKET_STATES
from ticketd.errors import ErrorCode

USERS = (1, 2, 3, 4)
STEPS = 150
SEATS = {1: ("Floor/A/1", "Floor/A/2"), 2: ("Floor/B/1",)}


@dataclass
class Code:
    """A seat of an order in the model: who holds its good code, which that is, and to whom it is on offer."""

    order: int
    holder: int
    ticket: TicketId
    issue: int = 1
    offer: TransferId | None = None
    dead: list[tuple[int, TicketId]] = field(default_factory=list)


@dataclass
class Offer:
    """A transfer in the model; ``ended`` says how, once it has."""

    code: Code
    sender: int
    token: str
    until_ms: int
    ended: bool = False


class Walk:
    """One walk: what happens to the store happens to the model, and the answers are compared."""

    def __init__(self, stage: TicketStage, seed: int) -> None:
        self.stage = stage
        self.random = random.Random(seed)
        self.codes: list[Code] = []
        self.offers: dict[TransferId, Offer] = {}
        self.void: set[int] = set()
        self.accepted = 0

    async def begin(self) -> None:
        await self.stage.put_event()
        for order, seats in SEATS.items():
            for ticket_id in await self.stage.buy(order, order, *seats):
                self.codes.append(Code(order, order, ticket_id))

    async def step(self) -> None:
        action = self.random.choices(
            (self.offer, self.accept, self.decline, self.cancel, self.pass_time, self.void_order),
            (30, 30, 6, 6, 7, 0.5),
        )[0]
        await action()
        self.compare()

    async def answer(self, attempt: Awaitable[object], wanted: ErrorCode | None) -> object:
        if wanted is None:
            return await attempt
        await refused(wanted, attempt)
        return None

    async def offer(self) -> None:
        code = self.random.choice(self.codes)
        user = code.holder if self.random.random() < 0.6 else self.random.choice(USERS)
        mine = [ticket for holder, ticket in code.dead if holder == user]
        ticket_id = self.random.choice(mine) if mine and self.random.random() < 0.3 else code.ticket
        wanted = None
        if ticket_id == code.ticket:
            if code.holder != user:
                wanted = ErrorCode.TICKET_NOT_FOUND
            elif code.offer is not None:
                wanted = ErrorCode.TRANSFER_PENDING
        else:
            wanted = ErrorCode.TICKET_NOT_TRANSFERABLE
        if wanted is None and (code.order in self.void or self.now >= DATE_MS):
            wanted = ErrorCode.TICKET_NOT_TRANSFERABLE
        token = f"{self.random.getrandbits(128):x}"
        await self.answer(self.stage.offer(user, ticket_id, token), wanted)
        if wanted is None:
            transfer_id = self.stage.ticket(ticket_id).transfer_id
            assert transfer_id is not None
            code.offer = transfer_id
            self.offers[transfer_id] = Offer(code, user, token, min(self.now + TRANSFER_MS, DATE_MS))

    async def accept(self) -> None:
        found = self.pick()
        if found is None:
            return
        transfer_id, offer, token, wanted = found
        user = self.random.choice(USERS)
        new = await self.answer(self.stage.accept(user, transfer_id, token), wanted)
        if wanted is None:
            assert isinstance(new, TicketRecord)
            code = offer.code
            self.end(offer)
            code.dead.append((code.holder, code.ticket))
            code.holder, code.ticket, code.issue = user, new.ticket_id, code.issue + 1
            self.accepted += 1

    async def decline(self) -> None:
        found = self.pick()
        if found is not None:
            transfer_id, offer, token, wanted = found
            await self.answer(self.stage.decline(self.random.choice(USERS), transfer_id, token), wanted)
            if wanted is None:
                self.end(offer)

    async def cancel(self) -> None:
        found = self.pick()
        if found is not None:
            transfer_id, offer, _, _ = found
            user = offer.sender if self.random.random() < 0.6 else self.random.choice(USERS)
            wanted = None if user == offer.sender else ErrorCode.TRANSFER_NOT_FOUND
            if wanted is None and (offer.ended or self.now >= offer.until_ms):
                wanted = ErrorCode.TRANSFER_EXPIRED
            await self.answer(self.stage.cancel(user, transfer_id), wanted)
            if wanted is None:
                self.end(offer)

    async def pass_time(self) -> None:
        self.stage.clock.at_ms += self.random.choice((1, 3_600_000, TRANSFER_MS // 2, TRANSFER_MS))
        if self.random.random() < 0.7:
            await self.stage.expire()
            for offer in self.offers.values():
                if not offer.ended and self.now >= offer.until_ms:
                    self.end(offer)

    async def void_order(self) -> None:
        order = self.random.choice(list(SEATS))
        await self.stage.change_order(order, state=OrderState.CANCELLED)
        await self.stage.void(order)
        self.void.add(order)
        for code in self.codes:
            if code.order == order and code.offer is not None:
                self.end(self.offers[code.offer])

    def pick(self) -> tuple[TransferId, Offer, str, ErrorCode | None] | None:
        """An offer, a token that is mostly its own, and what an acceptance of it will say."""
        if not self.offers:
            return None
        live = [transfer_id for transfer_id, offer in self.offers.items() if not offer.ended]
        transfer_id = self.random.choice(live if live and self.random.random() < 0.7 else list(self.offers))
        offer = self.offers[transfer_id]
        if self.random.random() < 0.2:
            return transfer_id, offer, "0" + offer.token, ErrorCode.TRANSFER_NOT_FOUND
        over = offer.ended or self.now >= offer.until_ms
        return transfer_id, offer, offer.token, ErrorCode.TRANSFER_EXPIRED if over else None

    def end(self, offer: Offer) -> None:
        offer.ended = True
        offer.code.offer = None

    @property
    def now(self) -> int:
        return self.stage.clock.at_ms

    def compare(self) -> None:
        self.stage.check()
        tickets = self.stage.read(
            lambda reader: [ticket for _, ticket in TICKETS.scan(reader, self.stage.partition)]
        )
        good = {
            ticket.ticket_id: (ticket.holder_id, ticket.issue, ticket.transfer_id)
            for ticket in tickets
            if ticket.state in VALID_TICKET_STATES
        }
        assert good == {
            code.ticket: (user_id(code.holder), code.issue, code.offer)
            for code in self.codes
            if code.order not in self.void
        }
        assert all(
            ticket.state is TicketState.TRANSFERRED
            for ticket in tickets
            if ticket.ticket_id in {dead for code in self.codes for _, dead in code.dead}
        )


@pytest.mark.parametrize("seed", range(25))
async def test_exactly_one_good_code_a_seat_at_any_time(tmp_path: Path, seed: int) -> None:
    with tickets_stage(tmp_path) as stage:
        walk = Walk(stage, seed)
        await walk.begin()
        for step in range(STEPS):
            try:
                await walk.step()
            except BaseException:
                print(f"seed {seed}, step {step}")
                raise
        assert walk.accepted
