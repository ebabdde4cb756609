"""The application: ``uvicorn scripts.benchmarks.peers.app:app`` with PEERS_STORE and PEERS_SECRET in its environment.

PEERS_STORE is ``sqlite:PATH`` or a connection string of PostgreSQL.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import ROUND_HALF_UP, Decimal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from scripts.benchmarks.peers.auth import Guard
from scripts.benchmarks.peers.models import (
    JoinAnswer,
    JoinBody,
    ReservationAnswer,
    ReserveBody,
    ReservedSeat,
    StatusAnswer,
)
from scripts.benchmarks.peers.postgres_store import PostgresStore
from scripts.benchmarks.peers.seat_maps import SeatMaps
from scripts.benchmarks.peers.sqlite_store import SqliteStore
from scripts.benchmarks.peers.store import Event, HeldSeat, Join, Refused, Reserve, Store
from scripts.benchmarks.peers.tokens import Place, hash_device, mint

_SECONDS_EACH = 60
_POLL_SECONDS = 30


class State:
    """What the endpoints share."""

    store: Store
    guard: Guard
    maps: SeatMaps
    events: dict[str, Event]
    secret: str


state = State()


def open_store(where: str) -> Store:
    """The store of PEERS_STORE."""
    path = where.removeprefix("sqlite:")
    return SqliteStore(path) if path != where else PostgresStore(where)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    state.secret = os.environ["PEERS_SECRET"]
    state.store = open_store(os.environ["PEERS_STORE"])
    await state.store.open()
    state.events = {event.event_id: event for event in await state.store.events()}
    state.guard = Guard(state.secret, await state.store.api_keys())
    state.maps = SeatMaps(state.store)
    yield
    await state.store.close()


app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)


@app.exception_handler(Refused)
async def refused(_: Request, error: Refused) -> JSONResponse:
    return error_answer(error.status, error.code, error.details)


@app.exception_handler(RequestValidationError)
async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    return error_answer(
        400, "INVALID_REQUEST", {"fields": [".".join(map(str, one["loc"])) for one in error.errors()]}
    )


def error_answer(status: int, code: str, details: dict[str, object]) -> JSONResponse:
    body = {"code": code, "message": code, "details": details, "request_id": str(uuid.uuid4())}
    return JSONResponse({"error": body}, status)


@app.post("/v1/queue/join")
async def join_queue(request: Request, body: JoinBody) -> JoinAnswer:
    state.guard.check_caller(request)
    event = find_event(str(body.event_id), 400, "INVALID_EVENT_ID")
    device_hash = hash_device(body.device_fingerprint)
    join = Join(event, str(uuid.uuid4()), str(body.user_id), device_hash)
    position, waiting = await state.store.join(join)
    place = Place(join.user_id, event.event_id, join.entry_id)
    return JoinAnswer(
        queue_token=mint(state.secret, "queue", place, device_hash),
        queue_position=position,
        estimated_wait_minutes=position,
        queue_size=waiting,
        status="QUEUED" if position else "READY",
        poll_interval_seconds=_POLL_SECONDS,
        entry_id=join.entry_id,
    )


@app.get("/v1/queue/status")
async def queue_status(request: Request) -> StatusAnswer:
    place = state.guard.check_token(request, "queue")
    position, waiting = await state.store.waiting(place.event_id, place.entry_id)
    return StatusAnswer(
        queue_position=position,
        status="QUEUED" if position else "READY",
        access_granted=not position,
        estimated_wait_minutes=position,
        queue_size=waiting,
        poll_interval_seconds=_POLL_SECONDS,
    )


@app.get("/v1/events/{event_id}")
async def get_event(request: Request, event_id: str) -> Response:
    state.guard.check_caller(request)
    event = find_event(event_id, 404, "EVENT_NOT_FOUND")
    free = await state.maps.free_seats(event.event_id)
    details = json.loads(event.details)
    for tier in details["pricing_tiers"]:
        tier["available_seats"] = free.get(tier["tier_id"], 0)
    details["available_seats"] = sum(free.values())
    return JSONResponse(details)


@app.get("/v1/events/{event_id}/seats")
async def get_seats(request: Request, event_id: str) -> Response:
    state.guard.check_caller(request)
    event = find_event(event_id, 404, "EVENT_NOT_FOUND")
    kept = await state.maps.read(event.event_id)
    headers = {"ETag": kept.etag, "Vary": "Accept-Encoding", "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == kept.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(kept.gzipped, media_type="application/json", headers=headers)
    return Response(kept.body, media_type="application/json", headers=headers)


@app.post("/v1/seats/reserve", status_code=201)
async def reserve_seats(request: Request, body: ReserveBody) -> ReservationAnswer:
    place = state.guard.check_token(request, "access")
    seat_ids = [str(one) for one in body.seat_ids]
    if len(set(seat_ids)) != len(seat_ids):
        raise Refused(400, "INVALID_REQUEST", field="seat_ids")
    if str(body.user_id) != place.user_id:
        raise Refused(403, "USER_MISMATCH")
    if str(body.event_id) != place.event_id:
        raise Refused(403, "EVENT_MISMATCH")
    event = find_event(place.event_id, 404, "EVENT_NOT_FOUND")
    reserve = Reserve(event, str(uuid.uuid4()), place.entry_id, place.user_id, seat_ids, int(time.time()))
    held = await state.store.reserve(reserve)
    state.maps.moved(event.event_id)
    return reservation_answer(reserve, held)


@app.delete("/v1/reservations/{reservation_id}", status_code=204)
async def release(request: Request, reservation_id: str) -> None:
    place = state.guard.check_token(request, "access")
    await state.store.release(place.event_id, place.user_id, reservation_id)
    state.maps.moved(place.event_id)


def find_event(event_id: str, status: int, code: str) -> Event:
    event = state.events.get(event_id)
    if event is None:
        raise Refused(status, code, event_id=event_id)
    return event


def reservation_answer(reserve: Reserve, held: list[HeldSeat]) -> ReservationAnswer:
    by_id = {seat.seat_id: seat for seat in held}
    seats = [by_id[seat_id] for seat_id in reserve.seat_ids]
    price = sum(seat.price_minor for seat in seats)
    fees = sum(seat.fees_minor for seat in seats)
    exact_taxes = Decimal(price) * Decimal(str(reserve.event.tax_rate))
    taxes = int(exact_taxes.quantize(Decimal(1), ROUND_HALF_UP))
    return ReservationAnswer(
        reservation_id=reserve.reservation_id,
        event_id=reserve.event.event_id,
        seat_ids=list(reserve.seat_ids),
        seats=[
            ReservedSeat(
                seat_id=seat.seat_id,
                section=seat.section,
                row=seat.row_name,
                seat=seat.number,
                price=seat.price_minor / 100,
                fees=seat.fees_minor / 100,
            )
            for seat in seats
        ],
        status="HELD",
        expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(reserve.now + reserve.event.hold_seconds)),
        currency="USD",
        total_price=price / 100,
        fees=fees / 100,
        total=(price + fees) / 100,
        taxes=taxes / 100,
        grand_total=(price + fees + taxes) / 100,
    )
