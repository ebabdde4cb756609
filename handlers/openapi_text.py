"""What the API document says in prose: the flows, and the rules that hold for every call."""

from __future__ import annotations

from typing import Final

TITLE: Final = "ticketd"

INTRODUCTION: Final = """\
A ticketing server: a fair waiting room, seats that are never sold twice, orders, tickets and transfers.

## The way of a buyer

1. Your server asks for a user token: `POST /v1/sessions` with a key of scope `storefront`.
2. The buyer joins the event's waiting room: `POST /v1/queue/join`, with the event, the user and a fingerprint
   of the device. The answer has a **queue token** and the place: 1 is next.
3. `GET /v1/queue/status?queue_token=…` tells how far one is. Ask again after `poll_interval_seconds`. The
   first answer that says `READY` carries the **access token** and starts the shopping window, which ends at
   `expires_at`. A buyer who does not ask in time once let in (`claim_seconds` of the event, by default 120)
   loses the place. A queue token that was lost, or is about to expire, is replaced by
   `POST /v1/queue/resume`: same body as to join, from the same device, with the buyer's user token (or by your
   server); it changes nothing about the place.
4. `GET /v1/events/{event_id}/seats` shows the seats; `POST /v1/seats/reserve` holds some, all or nothing, for
   `hold_seconds` (600 by default). Instead of `seat_ids` one may send a `quantity`, and gets the best seats
   that stand together.
5. `POST /v1/payment-methods` adds a card by the one-time token that the gateway's own form gave. In the sandbox
   `tok_visa_4242` succeeds, `tok_chargeDeclined` is declined, `tok_threeDSecure2Required` needs the buyer.
6. `POST /v1/orders` pays the hold. The answer is `PENDING`/`AUTHORIZED`: the seats are sold. The money is
   captured in the background, then the order is `CONFIRMED`/`CAPTURED` and has its tickets. If the buyer has
   to act first (3-D Secure) it is `PENDING`/`REQUIRES_ACTION` with `next_action`. A declined payment leaves
   the hold alive for another try, under a new order.
7. `GET /v1/orders/{order_id}`, `GET /v1/tickets` show what was bought; `POST
   /v1/tickets/{ticket_id}/transfer` offers a ticket to somebody else, whose claim link goes out by mail;
   `POST /v1/orders/{order_id}/cancel` takes the order back.

## Credentials

Every call under `/v1` needs an API key in `X-API-Key` (401 `API_KEY_INVALID`), except this document. A key
has one scope: `public` (a browser or an app), `storefront` (a trusted server, which may vouch for a
`user_id`), `operator`, `gate` or `box_office` (a till). Tokens go into `Authorization: Bearer`. A credential
that is sent must be valid even where none is needed. A token of one kind opens no other kind's door: 403
`QUEUE_ACCESS_ONLY` for a queue token, 403 `TOKEN_KIND_NOT_ALLOWED` for the others. Calls with a queue or
access token carry `X-Device-ID`, equal to the `device_fingerprint` that joined (403 `DEVICE_MISMATCH`). A
reservation, order, ticket, payment method or transfer of another buyer is answered like one that does not
exist.

An access token lives for a day; what it may do meanwhile is the server's record. Once the shopping window is
over, or an order was placed, it reserves nothing more (403 `ACCESS_EXPIRED`), while a live hold may still be
paid or released and the buyer's orders, tickets and transfers of the event may be looked at.

## Order of judgement

Route (404, 405), API key (401, 403 for its scope), rate limit (429), token (401, 403), device (403), body (413,
415, 400), ownership (404), state.

## Rate limits

Calls are counted by who makes them: by the place in line for a queue token, by the buyer for a user or access
token (all tokens of one buyer together), else by the API key and the client's address (of an IPv6 address its
/64). Unless the operator has set them otherwise the limits are, a minute: search 100, event details 200, seat
maps 50, reserving 10, joining and leaving 10, orders and payment methods 60, tickets 60, transfers 30, a till
600, anything else 300; a storefront's server makes 6000 sessions and joins. A buyer makes 1000 calls an hour
over all. Every call counts, refused ones too, in all limits that apply, and also one that is answered from its
`Idempotency-Key`.

Each answer tells of the tightest limit: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (Unix
seconds, when all of it is free again). One call too many is 429 `RATE_LIMITED` with `Retry-After` and, in
`details`, `class`, `limit` and `retry_after_seconds`; nothing was done.

A minute begins with the caller's first call. `GET /v1/queue/status` is different: 2 calls a minute evenly spread, and
2 at once after a rest, so that one call every 30 seconds always passes, somewhat early or late too. The first call
out of turn puts the next one that passes off by 30 seconds; `Retry-After` tells when that is. A refused call never
costs the place in line.

## Forms

Ids are UUIDs in lower case. Times are UTC in RFC 3339 with `Z`. Money is a JSON number with exactly the
decimals of its currency (`1500.00`), beside a `currency`. `X-Session-ID` is opaque, at most 128 printable
characters, and is kept in the log and in the order's trail. `X-Request-ID` is answered on every call; a
caller's own UUID is kept.

Errors have one form: `{"error": {"code", "message", "details", "request_id", "timestamp"}}`; `details` is
always an object. 400 means that the request cannot be read as this request (bad JSON, a wrong type, a missing
or unknown field, a value out of range); 422 that it was read and breaks a rule of the sale; 409 that somebody
else, or another request, is in the way; 410 that the time for it is over. Every 503 has `Retry-After`.

Query fields that are not known are passed over.

## Updates as they happen

`GET /v1/realtime` opens a WebSocket; no API key is needed. A queue, access or user token goes into the query as
`token`, into `Authorization`, or, beside the subprotocol `ticketd.v1`, as the subprotocol `bearer.TOKEN`; a
`device_id` that is sent must be the one that joined. `{"type": "subscribe", "event_id": …}` begins to listen
(queue and access tokens to their own event only, at most 50 events at once), `unsubscribe` ends it, `ping` is
answered with `pong`. `subscribed` tells how things are; then come `availability_update` for each section (at most
every 250 ms), `queue_update` for a queue token (at most every 5 s, and at once with the access token when it is
`READY`, which starts the shopping window), `reservation_expiring` 60 s before the end of a hold,
`reservation_expired` and `order_update`. Every message has a `seq`, which counts those of the connection; who reads
slowly is told the newest of each kind. A message that cannot be carried out is answered with `error`, which holds
the error object. `docs/realtime.md` shows every message.

## Hoarding

Joining is refused with 429 `RATE_LIMITED` and `details.reason` `ADDRESS_ENTRIES` if too many places of the
event are held from one client address; reserving with `LAPSED_HOLDS` for a while after several holds of the
buyer, the device or the address ran out unpaid. What is held already is not touched by that, and an order
clears it. `Retry-After` tells when to come again.

## Idempotency

`Idempotency-Key` (8 to 128 printable characters) is honoured on every POST and DELETE that changes something.
The first outcome below 500 is kept for 24 hours, in the same commit as its effect, and answered again byte
for byte with `Idempotency-Replayed: true`. Same key with another request: 422 `IDEMPOTENCY_KEY_REUSED`. Same
key while the first one is still running: 409 `IDEMPOTENCY_KEY_IN_USE`. A key counts for one buyer (without a
token: one API key) and one route.

## Lists

`page` from 1, `per_page` from 1 to 100 (20 by default); the items come under their plural name, beside
`pagination`.
"""

PART_TEXTS: Final[dict[str, str]] = {
    "sessions": "User tokens for buyers that your server vouches for.",
    "queue": "The waiting room: first come, first served, with exact positions.",
    "realtime": "Updates as they happen, over a WebSocket.",
    "events": "What is on sale. An API key is enough.",
    "inventory": "Seats: the map, holding and releasing.",
    "orders": "Paying a hold, looking at orders, cancelling.",
    "payment methods": "Cards, by the gateway's tokens. No card number ever comes here.",
    "tickets": "Tickets, their QR codes, their PDF, and the keys by which a gate checks them without a network.",
    "transfers": "Giving a ticket to somebody else. It stays valid until the other one accepts.",
    "box office": "Selling at a till what was paid in cash or at a card terminal, where the operator has allowed it.",
    "sandbox": "The page on which a buyer confirms a sandbox payment, in place of a bank's.",
    "webhooks": "What the payment gateway tells. It only makes orders be looked at.",
    "daemon": "Health, metrics and this document.",
    "operator": "For the operator alone, on a listener of its own.",
}
