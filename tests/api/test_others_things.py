"""Every endpoint × what is somebody else's: it does not exist for a stranger, who changes nothing."""

from __future__ import annotations

from typing import Any

from handlers.endpoint import Endpoint
from tests.api.judging import (
    Judge,
    judged,
)
from tests.api.samples import Sample
from tests.api.sorting import UNKNOWN
from tests.api.world import OWNER
from tests.support.tokens import mint
from ticketd.credentials.keyring import TokenKind
from ticketd.errors import ErrorCode


def belongs(line: Endpoint) -> bool:
    """Whether the endpoint is about one thing of a buyer's."""
    return line.name in {
        "get_reservation",
        "delete_reservation",
        "create_order",
        "get_order",
        "cancel_own_order",
        "delete_payment_method",
        "list_tickets",
        "offer_own_ticket",
        "cancel_own_transfer",
    }


@judged
async def test_what_is_somebody_elses_does_not_exist(judge: Judge) -> None:
    world = judge.world
    for line, sample in judge.samples(belongs):
        strangers = [world.stranger_access]
        if TokenKind.USER in line.credential.kinds:
            strangers.append(world.stranger)
        for stranger in strangers:
            answer = await judge.refused(line, "a stranger", sample.send(line, stranger))
            if answer.status != 404:
                judge.fault(line, "a stranger", f"wanted 404, got {answer.status} {answer.code}")
            unknown = Sample(
                stranger,
                dict.fromkeys(sample.path, UNKNOWN),
                sample.body and {**sample.body, "reservation_id": UNKNOWN},
                query=f"?order_id={UNKNOWN}" if "order_id" in sample.query else "",
            )
            if line.name == "offer_own_ticket":
                unknown = Sample(stranger, {"ticket_id": UNKNOWN}, sample.body)
            nothing = await judge.refused(line, "nobody's", unknown.send(line))
            if told(answer.json) != told(nothing.json):
                judge.fault(line, "a stranger", f"learns something: {answer.body!r} {nothing.body!r}")


def told(answer: Any) -> object:
    """What an error tells, but for what every error says anew and for the id that was asked for."""
    error = answer["error"]
    return error["code"], error["message"], sorted(error["details"])


@judged
async def test_lists_show_ones_own_alone(judge: Judge) -> None:
    world = judge.world
    lists = {"list_orders", "get_payment_methods", "list_tickets", "list_transfers"}
    theirs = [
        world.ids[name] for name in ("order", "cancellable", "card", "ticket", "accepted", "shoppers_card")
    ]
    for line, sample in judge.samples(lambda line: line.name in lists):
        for client in (world.stranger, world.stranger_access, world.friend):
            judge.asked += 1
            answer = await client.get(line.path)
            if answer.status != 200 or any(one in answer.body.decode() for one in theirs):
                judge.fault(line, "a stranger's list", f"{answer.status} {answer.body[:200]!r}")
        own = await sample.client.get(line.path)
        if not any(one in own.body.decode() for one in theirs):
            judge.fault(line, "one's own list", f"{own.body[:200]!r}")


@judged
async def test_another_buyers_name_and_card(judge: Judge) -> None:
    world = judge.world
    naming = {"create_reservation", "join_queue", "resume_queue"}
    for line, sample in judge.samples(lambda line: line.name in naming):
        client = world.stranger_access if line.name == "create_reservation" else world.stranger
        await judge.refused(line, "for somebody else", sample.send(line, client), ErrorCode.USER_MISMATCH)
    ((line, sample),) = judge.samples(lambda line: line.name == "create_order")
    for card in (world.ids["strangers_card"], world.ids["card"], UNKNOWN, "x", ""):
        body = {**sample.body, "payment_method_id": card}
        call = sample.client.post(line.path, body)
        await judge.refused(line, f"the card {card}", call, ErrorCode.INVALID_PAYMENT_METHOD)


@judged
async def test_an_access_token_opens_its_own_event_alone(judge: Judge) -> None:
    world = judge.world
    token = mint(world.daemon, TokenKind.ACCESS, user=OWNER, event=world.other_event_id)
    owner = world.owner.with_token(token)
    mismatch = ErrorCode.EVENT_MISMATCH
    for line, sample in judge.samples(lambda line: ErrorCode.EVENT_MISMATCH in line.errors):
        if line.name == "create_reservation":
            body = {**sample.body, "user_id": str(OWNER)}
            await judge.refused(line, "another event", owner.post(line.path, body), mismatch)
        else:
            await judge.refused(line, "another event", sample.send(line, owner), mismatch)


@judged
async def test_a_claim_needs_the_very_token_of_its_mail(judge: Judge) -> None:
    world = judge.world
    names = {"accept_offered_ticket": "declined_token", "decline_offered_ticket": "accepted_token"}
    for line, sample in judge.samples(lambda line: line.name in names):
        for token in (world.ids[names[line.name]], "x", sample.body["claim_token"][:-1], "A" * 43):
            call = sample.client.post(sample.target(line), {"claim_token": token})
            await judge.refused(line, f"the token {token[:9]}", call, ErrorCode.TRANSFER_NOT_FOUND)
