"""For every endpoint one call that succeeds in the world of ``tests.api.world``. A new endpoint needs a new sample."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from handlers.endpoint import Endpoint
from handlers.routes import ENDPOINTS
from tests.api.world import (
    NEWCOMER,
    SHOPPER,
    WAITER,
    WEBHOOK_SECRET,
    World,
    order_body,
    till_body,
)
from tests.handlers.ticket_box import FRIEND
from tests.stripe_judge.webhooks import signature
from tests.support.daemon import Answer, Client
from tests.support.events import arena_file
from ticketd.credentials.api_keys import Scope

FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Sample:
    """A call: who, where, with what. ``path`` fills the braces of the endpoint's path."""

    client: Client
    path: dict[str, str]
    body: Any = None
    query: str = ""
    raw: bytes | None = None
    headers: dict[str, str] | None = None

    def target(self, endpoint: Endpoint, **path: str) -> str:
        """The path and the query, with some of the path's parameters replaced."""
        target = endpoint.path
        for name, value in {**self.path, **path}.items():
            target = target.replace(f"{{{name}}}", value)
        return target + self.query

    async def send(self, endpoint: Endpoint, client: Client | None = None) -> Answer:
        """The call as it is, by another caller if one is named."""
        return await (client or self.client).call(
            endpoint.method, self.target(endpoint), self.body, raw=self.raw, headers=self.headers
        )


def _new_event(name: str) -> bytes:
    return json.dumps(arena_file(name=name)).encode()


def _stripe_event(w: World) -> Sample:
    about = {"id": "pi_1", "object": "payment_intent", "metadata": {"order_id": w.ids["order"]}}
    event = {"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": about}}
    raw = json.dumps(event).encode()
    seconds = w.daemon.services.clock.now_ms() // 1000
    return Sample(
        w.daemon.client(), {}, raw=raw, headers={"stripe-signature": signature(WEBHOOK_SECRET, seconds, raw)}
    )


SAMPLES: Final[dict[str, Callable[[World], Sample]]] = {
    "create_session": lambda w: Sample(w.daemon.client(), {}, {"user_id": str(SHOPPER), "ttl_seconds": 60}),
    "join_queue": lambda w: Sample(
        w.daemon.client(),
        {},
        {
            "event_id": str(w.event_id),
            "user_id": str(NEWCOMER),
            "device_fingerprint": "device-new",
            "presale_code": None,
        },
    ),
    "resume_queue": lambda w: Sample(
        w.daemon.client(),
        {},
        {
            "event_id": str(w.other_event_id),
            "user_id": str(WAITER),
            "device_fingerprint": "device-of-waiter",
        },
    ),
    "get_draw": lambda w: Sample(w.daemon.client(), {}, query=f"?event_id={w.ids['lobby_event']}&full=true"),
    "queue_status": lambda w: Sample(w.waiter, {}),
    "leave_queue": lambda w: Sample(w.waiter, {}),
    "open_realtime": lambda w: Sample(w.daemon.client(), {}),
    "search_events": lambda w: Sample(
        w.daemon.client(), {}, query="?query=lantern&city=New%20York&date_from=2026-01-01&page=1&per_page=5"
    ),
    "get_event": lambda w: Sample(w.daemon.client(), {"event_id": str(w.event_id)}),
    "get_seat_map": lambda w: Sample(
        w.daemon.client(),
        {"event_id": str(w.event_id)},
        query=f"?section_id={w.ids['section']}&since=0",
    ),
    "create_reservation": lambda w: Sample(
        w.shopper,
        {},
        {"event_id": str(w.event_id), "user_id": str(SHOPPER), "seat_ids": [w.ids["free_seat"]]},
    ),
    "get_reservation": lambda w: Sample(w.shopper, {"reservation_id": w.ids["hold"]}),
    "delete_reservation": lambda w: Sample(w.shopper, {"reservation_id": w.ids["hold"]}),
    "create_order": lambda w: Sample(w.shopper, {}, order_body(w.ids["payable"], w.ids["shoppers_card"])),
    "list_orders": lambda w: Sample(w.owner, {}, query="?page=1&per_page=1"),
    "get_order": lambda w: Sample(w.owner, {"order_id": w.ids["order"]}),
    "cancel_own_order": lambda w: Sample(w.owner, {"order_id": w.ids["cancellable"]}),
    "create_payment_method": lambda w: Sample(
        w.owner,
        {},
        {
            "type": "CARD",
            "card_token": "tok_visa_4242",
            "billing_address": order_body("", "")["billing_address"],
        },
    ),
    "get_payment_methods": lambda w: Sample(w.owner, {}),
    "delete_payment_method": lambda w: Sample(w.owner, {"payment_method_id": w.ids["spare_card"]}),
    "show_challenge": lambda w: Sample(w.daemon.client(), {"payment_ref": w.ids["challenge"]}),
    "answer_challenge": lambda w: Sample(
        w.daemon.client(), {"payment_ref": w.ids["challenge"]}, raw=b"outcome=complete", headers=FORM
    ),
    "list_tickets": lambda w: Sample(w.owner, {}, query=f"?order_id={w.ids['order']}&page=1"),
    "list_ticket_keys": lambda w: Sample(w.daemon.client(), {}),
    "download_ticket": lambda w: Sample(
        w.daemon.client(), {"ticket_id": w.ids["ticket"]}, query=f"?{w.ids['ticket_link']}"
    ),
    "offer_own_ticket": lambda w: Sample(w.owner, {"ticket_id": w.ids["ticket"]}, FRIEND),
    "list_transfers": lambda w: Sample(w.owner, {}),
    "accept_offered_ticket": lambda w: Sample(
        w.friend, {"transfer_id": w.ids["accepted"]}, {"claim_token": w.ids["accepted_token"]}
    ),
    "decline_offered_ticket": lambda w: Sample(
        w.friend, {"transfer_id": w.ids["declined"]}, {"claim_token": w.ids["declined_token"]}
    ),
    "cancel_own_transfer": lambda w: Sample(w.owner, {"transfer_id": w.ids["cancelled"]}),
    "show_claim": lambda w: Sample(
        w.daemon.client(), {}, query=f"?transfer={w.ids['accepted']}&token={w.ids['accepted_token']}"
    ),
    "create_till_sale": lambda w: Sample(
        w.daemon.client(Scope.BOX_OFFICE), {}, till_body(w.event_id, "another")
    ),
    "get_till_sale": lambda w: Sample(w.daemon.client(Scope.BOX_OFFICE), {"order_id": w.ids["till_sale"]}),
    "refund_till_sale": lambda w: Sample(
        w.daemon.client(Scope.BOX_OFFICE), {"order_id": w.ids["refundable_till_sale"]}, {"receipt": "back"}
    ),
    "receive_stripe_event": _stripe_event,
    "get_openapi": lambda w: Sample(w.daemon.client(), {}),
    "show_docs": lambda w: Sample(w.daemon.client(), {}),
    "get_docs_asset": lambda w: Sample(w.daemon.client(), {"asset": "start.js"}),
    "get_health": lambda w: Sample(w.daemon.client(), {}),
    "get_readiness": lambda w: Sample(w.daemon.client(), {}),
    "get_metrics": lambda w: Sample(w.operator, {}),
    # --- operator ---
    "list_operator_events": lambda w: Sample(w.operator, {}),
    "import_event": lambda w: Sample(w.operator, {}, raw=_new_event("A third night")),
    "put_operator_event": lambda w: Sample(
        w.operator, {"event_id": str(UUID(int=0xE0))}, raw=_new_event("A fourth night")
    ),
    "get_operator_event": lambda w: Sample(w.operator, {"event_id": str(w.event_id)}),
    "cancel_operator_event": lambda w: Sample(w.operator, {"event_id": str(w.other_event_id)}),
    "delete_operator_event": lambda w: Sample(w.operator, {"event_id": w.ids["deletable_event"]}),
    "block_event_seats": lambda w: Sample(
        w.operator, {"event_id": str(w.event_id)}, {"seat_ids": [w.ids["blockable_seat"]]}
    ),
    "unblock_event_seats": lambda w: Sample(
        w.operator, {"event_id": str(w.event_id)}, {"seat_ids": [w.ids["blocked_seat"]]}
    ),
    "set_event_room": lambda w: Sample(
        w.operator,
        {"event_id": str(w.event_id)},
        {"pause": False, "resume": True, "max_active": 7, "admit_per_minute": 8, "capacity": 9},
    ),
    "list_operator_orders": lambda w: Sample(w.operator, {}, query=f"?event_id={w.event_id}"),
    "list_ledger": lambda w: Sample(w.operator, {}, query=f"?event_id={w.event_id}"),
    "reconcile_payments": lambda w: Sample(w.operator, {}, query=f"?event_id={w.event_id}"),
    "reconcile_order": lambda w: Sample(
        w.operator, {"order_id": w.ids["order"]}, query=f"?event_id={w.event_id}"
    ),
    "get_operator_order": lambda w: Sample(w.operator, {"order_id": w.ids["order"]}),
    "refund_order": lambda w: Sample(w.operator, {"order_id": w.ids["refundable"]}, {"reason": "rain"}),
    "list_audit": lambda w: Sample(w.operator, {}),
    "get_stats": lambda w: Sample(w.operator, {}),
    "create_api_key": lambda w: Sample(w.operator, {}, {"scope": "public", "name": "a shop"}),
    "list_keys": lambda w: Sample(w.operator, {}),
    "revoke_key": lambda w: Sample(w.operator, {"key_id": w.ids["api_key"]}),
    "rotate_key": lambda w: Sample(w.operator, {"kind": "ticket"}),
    "create_user_token": lambda w: Sample(w.operator, {}, {"user_id": str(SHOPPER), "ttl_seconds": 60}),
}

# What takes away what another sample works on comes after it.
_LAST: Final = ("leave_queue", "cancel_operator_event", "cancel_own_order")


def endpoints_with_samples(world: World) -> list[tuple[Endpoint, Sample]]:
    """Every line of the table with its sample, in an order in which all of them succeed: reads first."""
    lines = sorted(
        ENDPOINTS,
        key=lambda line: (
            line.method != "GET",
            _LAST.index(line.name) if line.name in _LAST else -1,
        ),
    )
    return [(line, SAMPLES[line.name](world)) for line in lines]
