"""Events on their way to the endpoint that was set, signed as https://docs.stripe.com/webhooks says.

What is in line stands in the judge's file, so that it comes after a restart too, and perhaps twice.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import httpx
import msgspec
import trio

from tests.stripe_judge.behaviour import Webhooks
from tests.stripe_judge.judge import Judge
from tests.stripe_judge.records import Event

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class _InLine:
    number: int
    event: str
    due: float
    tries: int


def signature(secret: str, at: int, payload: bytes) -> str:
    """The header ``Stripe-Signature``; ``v0`` is the scheme that a receiver must not heed."""
    made = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={made},v0={hashlib.sha256(payload).hexdigest()}"


async def run_deliveries(judge: Judge, transport: httpx.AsyncBaseTransport | None = None) -> None:
    """Sends what is due, one after another, for ever. ``transport`` takes the network's place."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False, transport=transport) as client:
        while True:
            stirred = judge.stirred
            first = _first_in_line(judge)
            wait = None if first is None else first.due - judge.wall()
            if first is None or wait is None:
                await stirred.wait()
            elif wait > 0:
                with trio.move_on_after(wait):
                    await stirred.wait()
            else:
                await _deliver(judge, client, first)


def _first_in_line(judge: Judge) -> _InLine | None:
    row = judge.store.sql.execute(
        "SELECT number, event, due, tries FROM deliveries WHERE NOT done ORDER BY due, place, number LIMIT 1"
    ).fetchone()
    return None if row is None else _InLine(*row)


async def _deliver(judge: Judge, client: httpx.AsyncClient, line: _InLine) -> None:
    """Sends it once: done if it is answered by a status of 2xx or was tried often enough, else put off."""
    hooks = judge.store.setting(Webhooks)
    call = judge.call()
    payload = msgspec.json.encode(call.show(judge.store.get(Event, line.event)))
    at = call.now + hooks.skew_seconds
    status: int | None = None
    if hooks.url is not None:
        try:
            answer = await client.post(
                hooks.url,
                content=payload,
                headers={
                    "Content-Type": "application/json; charset=utf-8",
                    "Stripe-Signature": signature(hooks.secret, at, payload),
                    "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                },
            )
            status = answer.status_code
        except httpx.HTTPError:
            status = None
    tries = line.tries + 1
    done = (status is not None and 200 <= status < 300) or tries >= hooks.most_tries or hooks.url is None
    due = judge.wall() + hooks.retry_seconds * 2 ** min(line.tries, 8)
    with judge.store.transaction():
        judge.store.sql.execute(
            "UPDATE deliveries SET tries = ?, status = ?, done = ?, due = ? WHERE number = ?",
            (tries, status, done, line.due if done else due, line.number),
        )
