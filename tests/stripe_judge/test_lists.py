"""Lists and the search: pages, cursors, filters and the lag."""

from __future__ import annotations

from typing import cast

import pytest

from tests.stripe_judge.desk import START, Desk, payment
from tests.stripe_judge.refusals import Document

INTENTS = "/v1/payment_intents"
SEARCH = f"{INTENTS}/search"


def ids(page: Document) -> list[object]:
    return [each["id"] for each in cast("list[Document]", page["data"])]


async def test_pages_go_from_the_newest_to_the_oldest_and_back(desk: Desk) -> None:
    made = [await desk.intent() for _ in range(5)][::-1]
    first = await desk.done("GET", INTENTS, {"limit": 2})
    assert (ids(first), first["has_more"], first["object"]) == (made[:2], True, "list")
    second = await desk.done("GET", INTENTS, {"limit": 2, "starting_after": made[1]})
    assert (ids(second), second["has_more"]) == (made[2:4], True)
    last = await desk.done("GET", INTENTS, {"limit": 2, "starting_after": made[3]})
    assert (ids(last), last["has_more"]) == (made[4:], False)
    back = await desk.done("GET", INTENTS, {"limit": 2, "ending_before": made[4]})
    assert (ids(back), back["has_more"]) == (made[2:4], True)
    top = await desk.done("GET", INTENTS, {"limit": 2, "ending_before": made[2]})
    assert (ids(top), top["has_more"]) == (made[:2], False)


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (99, 200), (100, 200), (101, 400)])
async def test_how_long_a_page_is(desk: Desk, limit: int, status: int) -> None:
    assert (await desk.send("GET", INTENTS, {"limit": limit})).status == status


async def test_a_page_has_ten_if_nothing_is_said(desk: Desk) -> None:
    for _ in range(10):
        await desk.intent()
    assert (await desk.done("GET", INTENTS))["has_more"] is False
    await desk.intent()
    page = await desk.done("GET", INTENTS)
    assert (len(ids(page)), page["has_more"]) == (10, True)


async def test_wrong_cursors(desk: Desk) -> None:
    intent = await desk.intent()
    form = {"starting_after": "pi_x"}
    assert await desk.refused("GET", INTENTS, form) == (400, "resource_missing", "starting_after")
    assert (await desk.refused("GET", INTENTS, {"starting_after": intent, "ending_before": intent}))[0] == 400
    refused = await desk.refused("GET", "/v1/refunds", {"starting_after": intent})
    assert refused == (400, "resource_missing", "starting_after")


async def test_lists_by_customer_and_by_time(desk: Desk) -> None:
    buyer, other = await desk.customer(), await desk.customer()
    first = await desk.intent(customer=buyer)
    await desk.intent(customer=other)
    desk.wall += 10
    second = await desk.intent(customer=buyer)
    assert ids(await desk.done("GET", INTENTS, {"customer": buyer})) == [second, first]
    of_buyer = {"customer": buyer}
    assert ids(await desk.done("GET", INTENTS, {**of_buyer, "created[gte]": START + 10})) == [second]
    assert ids(await desk.done("GET", INTENTS, {**of_buyer, "created[gt]": START + 10})) == []
    assert ids(await desk.done("GET", INTENTS, {**of_buyer, "created[lte]": START})) == [first]
    assert ids(await desk.done("GET", INTENTS, {**of_buyer, "created[lt]": START})) == []
    assert ids(await desk.done("GET", INTENTS, {**of_buyer, "created": START + 10})) == [second]
    refused = await desk.refused("GET", INTENTS, {"customer": "cus_x"})
    assert refused == (400, "resource_missing", "customer")
    page = await desk.done("GET", INTENTS, {**of_buyer, "expand[]": "data.latest_charge"})
    charges = [cast("Document", each["latest_charge"]) for each in cast("list[Document]", page["data"])]
    assert [charge["object"] for charge in charges] == ["charge", "charge"]


async def test_refunds_and_charges_of_one_payment(desk: Desk) -> None:
    intents = [await desk.intent() for _ in range(2)]
    for intent in intents:
        await desk.done("POST", f"{INTENTS}/{intent}/capture")
        await desk.done("POST", "/v1/refunds", {"payment_intent": intent, "amount": 5})
    page = await desk.done("GET", "/v1/refunds", {"payment_intent": intents[0]})
    (refund,) = cast("list[Document]", page["data"])
    assert refund["payment_intent"] == intents[0]
    charges = await desk.done("GET", "/v1/charges", {"payment_intent": intents[0]})
    assert ids(charges) == [refund["charge"]]
    assert ids(await desk.done("GET", "/v1/refunds", {"charge": refund["charge"]})) == [refund["id"]]
    assert len(ids(await desk.done("GET", "/v1/refunds"))) == 2


# --- events -------------------------------------------------------------------------------------------------


async def test_events_by_type(desk: Desk) -> None:
    intent = await desk.intent()
    await desk.done("POST", f"{INTENTS}/{intent}/capture", key="capture")
    page = await desk.done("GET", "/v1/events", {"type": "payment_intent.succeeded"})
    (event,) = cast("list[Document]", page["data"])
    assert cast("Document", cast("Document", event["data"])["object"])["id"] == intent
    assert cast("Document", event["request"])["idempotency_key"] == "capture"
    assert await desk.done("GET", f"/v1/events/{event['id']}") == event
    several = await desk.done("GET", "/v1/events", {"type": "payment_intent.*"})
    assert len(ids(several)) == 3
    two = {"types[0]": "charge.captured", "types[1]": "payment_intent.created"}
    assert len(ids(await desk.done("GET", "/v1/events", two))) == 2
    assert (await desk.refused("GET", "/v1/events", {"type": "a", "types[]": "b"}))[0] == 400
    for count, status in ((19, 200), (20, 200), (21, 400)):
        types: dict[str, object] = {f"types[{number}]": "x" for number in range(count)}
        assert (await desk.send("GET", "/v1/events", types)).status == status
    assert await desk.refused("GET", "/v1/events/evt_x") == (404, "resource_missing", "id")


# --- search -------------------------------------------------------------------------------------------------


async def test_a_search_lags_behind(desk: Desk) -> None:
    found = {"query": "metadata['order_id']:'1'"}
    intent = await desk.intent(**{"metadata[order_id]": "1"})
    await desk.intent(**{"metadata[order_id]": "2"})
    desk.wall += 59
    assert ids(await desk.done("GET", SEARCH, found)) == []
    assert len(ids(await desk.done("GET", INTENTS))) == 2
    desk.wall += 1
    page = await desk.done("GET", SEARCH, found)
    assert (ids(page), page["object"], page["next_page"]) == ([intent], "search_result", None)
    desk.ordered("POST", "settings", {"search_lag_seconds": 3600})
    assert ids(await desk.done("GET", SEARCH, found)) == []


async def test_what_a_search_asks(desk: Desk) -> None:
    desk.ordered("POST", "settings", {"search_lag_seconds": 0})
    intent = await desk.intent(**{"metadata[order_id]": "it's", "metadata[no]": "1"})
    cases = {
        'metadata["order_id"]:"it\'s"': [intent],
        r"metadata['order_id']:'it\'s'": [intent],
        r"metadata['order_id']:'it\'s' AND metadata['no']:'1' AND status:'requires_capture'": [intent],
        r"metadata['order_id']:'it\'s' AND metadata['no']:'2'": [],
        "currency:'eur'": [],
    }
    for query, wanted in cases.items():
        assert ids(await desk.done("GET", SEARCH, {"query": query})) == wanted
    for query in ("order_id:'1'", "metadata[order_id]:'1'", "status:x", "status:'x' OR status:'y'", "x"):
        assert await desk.refused("GET", SEARCH, {"query": query}) == (400, None, "query")
    assert await desk.refused("GET", SEARCH) == (400, "parameter_missing", "query")


async def test_pages_of_a_search(desk: Desk) -> None:
    desk.ordered("POST", "settings", {"search_lag_seconds": 0})
    made = [await desk.intent() for _ in range(3)][::-1]
    form: dict[str, object] = {"query": "currency:'usd'", "limit": 2}
    first = await desk.done("GET", SEARCH, form)
    assert (ids(first), first["has_more"]) == (made[:2], True)
    last = await desk.done("GET", SEARCH, {**form, "page": first["next_page"]})
    assert (ids(last), last["has_more"]) == (made[2:], False)
    assert await desk.refused("GET", SEARCH, {**form, "page": "x"}) == (400, None, "page")
    assert (await desk.done("POST", INTENTS, payment()))["object"] == "payment_intent"
