"""Lists and the search: pages newest first, after a cursor."""

from __future__ import annotations

import re
from typing import Final

from tests.stripe_judge.call import Call
from tests.stripe_judge.records import Charge, Customer, Dispute, Event, Intent, Record, Refund
from tests.stripe_judge.refusals import Document, bad_request, missing_in_parameter
from tests.stripe_judge.store import Wanted

LIMIT: Final = 10
MOST: Final = 100

_CLAUSE: Final = re.compile(
    r"""(?:metadata\[(?P<mark>["'])(?P<key>[^"'\]]+)(?P=mark)\]|(?P<field>customer|status|currency))"""
    r""":\s*(?P<quote>["'])(?P<value>(?:(?!(?P=quote))[^\\]|\\.)*)(?P=quote)\Z"""
)


def list_intents(call: Call) -> Document:
    customer = call.meant(Customer, "customer", "customer")
    wanted = {"customer": None if customer is None else customer.id}
    return _page(call, Intent, "payment_intent", wanted, "/v1/payment_intents")


def list_charges(call: Call) -> Document:
    return _page(call, Charge, "charge", {"intent": _intent_meant(call)}, "/v1/charges")


def list_refunds(call: Call) -> Document:
    charge = call.meant(Charge, "charge", "charge")
    intent = _intent_meant(call) if charge is None else charge.intent
    return _page(call, Refund, "refund", {"intent": intent}, "/v1/refunds")


def list_disputes(call: Call) -> Document:
    charge = call.meant(Charge, "charge", "charge")
    intent = _intent_meant(call) if charge is None else charge.intent
    return _page(call, Dispute, "dispute", {"intent": intent}, "/v1/disputes")


def list_events(call: Call) -> Document:
    """``type`` may hold ``*``; ``types`` names up to twenty."""
    params = call.params
    if "type" in params and "types" in params:
        raise bad_request("You may only specify one of these parameters: type, types.")
    kinds = (params.text("type"),) if "type" in params else params.texts("types")
    if len(kinds) > 20:
        raise bad_request("You may only filter on up to 20 types.", param="types")
    return _page(call, Event, "event", {}, "/v1/events", labels=kinds)


def retrieve_event(call: Call) -> Document:
    return call.show(call.named(Event, "event"))


def _intent_meant(call: Call) -> str | None:
    intent = call.meant(Intent, "payment_intent", "payment_intent")
    return None if intent is None else intent.id


def _page(
    call: Call,
    kind: type[Record],
    thing: str,
    wanted: dict[str, str | None],
    url: str,
    *,
    labels: tuple[str, ...] = (),
) -> Document:
    params, limit = call.params, call.params.integer("limit", LIMIT)
    if "starting_after" in params and "ending_before" in params:
        raise bad_request("You may only specify one of these parameters: starting_after, ending_before.")
    found = call.store.listed(
        kind,
        Wanted(
            customer=wanted.get("customer"),
            intent=wanted.get("intent"),
            labels=labels,
            created=params.range("created"),
            before=_cursor(call, kind, thing, "starting_after"),
            after=_cursor(call, kind, thing, "ending_before"),
        ),
        limit + 1,
    )
    more = len(found) > limit
    # The record too many stands at the far end of the way that was read.
    found = found[1:] if more and "ending_before" in params else found[:limit]
    return {"object": "list", "data": [call.show(record) for record in found], "has_more": more, "url": url}


def _cursor(call: Call, kind: type[Record], thing: str, param: str) -> int | None:
    name = call.params.text_or_none(param)
    if name is None:
        return None
    number = call.store.number_of(kind, name)
    if number is None:
        raise missing_in_parameter(thing, name, param)
    return number


def search_intents(call: Call) -> Document:
    """Payments that fit every clause of ``query``, once they are older than the lag."""
    clauses = [_clause(text) for text in re.split(r"\s+(?:AND|and)\s+", call.params.text("query").strip())]
    limit = call.params.integer("limit", LIMIT)
    newest = call.now - call.behaviour.search_lag_seconds
    after = call.store.number_of(Intent, call.params.text("page")) if "page" in call.params else None
    if "page" in call.params and after is None:
        raise bad_request("Invalid page.", param="page")
    found = [
        intent
        for intent in call.store.listed(Intent, Wanted(before=after))
        if intent.created <= newest and all(_fits(intent, *clause) for clause in clauses)
    ]
    more = len(found) > limit
    found = found[:limit]
    return {
        "object": "search_result",
        "data": [call.show(intent) for intent in found],
        "has_more": more,
        "next_page": found[-1].id if more else None,
        "url": "/v1/payment_intents/search",
    }


def _clause(text: str) -> tuple[str, str | None, str]:
    """Field, key of the metadata, value; 400 for what the judge does not know of the query language."""
    match = _CLAUSE.match(text)
    if match is None:
        raise bad_request(f"We were unable to parse your search query: {text}", param="query")
    return match["field"] or "metadata", match["key"], re.sub(r"\\(.)", r"\1", match["value"])


def _fits(intent: Intent, field: str, key: str | None, value: str) -> bool:
    if key is not None:
        return intent.metadata.get(key) == value
    return bool(getattr(intent, field) == value)
