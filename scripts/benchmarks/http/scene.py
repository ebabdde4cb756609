"""The scene that every contender begins with: three events, those who wait for one, and those who shop in another.

It is made once, by the daemon's own endpoints over a store that is copied for each run; the other contenders get the
same events, seats and buyers out of it, with tokens of their own. What is asked of a contender is in ``calls``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
import trio

from config.settings import HoardingSettings, Settings, StorageSettings
from tests.support.daemon import NO_RATE_LIMITS, Client, Daemon, open_daemon
from tests.support.events import put_plan
from ticketd.credentials.api_keys import Scope

WAITING_BUYERS: Final = 2000
SHOPPERS: Final = 2000
HALL_SEATS: Final = 20_000
_ROW_SEATS: Final = 40
_SECTION_ROWS: Final = 20
_DAY: Final = 86_400
_MAP_BYTES: Final = 8 * 1024**3

SETTINGS: Final = f"""
[storage]
map_size_bytes = {_MAP_BYTES}
[log]
level = "warning"
[server]
max_connections = 10000
max_connections_per_address = 10000
idle_timeout_seconds = 3600
[hoarding]
# Everybody comes from one address.
max_entries_per_address = 0
[rate_limits]
# Counted, and met by nobody.
event_details_per_minute = 1000000
seat_map_per_minute = 1000000
reserve_per_minute = 1000000
queue_status_per_minute = 6000
queue_status_burst = 60
token_per_hour = 1000000
join_per_minute = 1000000
sessions_per_minute = 1000000
other_per_minute = 1000000
"""
"""The settings of the daemon as it is measured; the rest are its defaults."""


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """A buyer with the token of a place: a queue token of one who waits, an access token of one who shops."""

    user_id: str
    device: str
    entry_id: str
    token: str


class Hall(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the API tells it: its details, and its seat map."""

    event_id: str
    details: dict[str, Any]
    seat_map: dict[str, Any]

    def seat_ids(self) -> list[list[str]]:
        """The ids of the seats, row by row."""
        return [
            [seat["seat_id"] for seat in row["seats"]]
            for section in self.seat_map["sections"]
            for row in section["rows"]
        ]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """``hall`` is looked at; ``sale`` is where ``shoppers`` reserve; ``waiting`` stand in the room of ``queue``."""

    api_key: str
    hall: Hall
    sale: Hall
    queue: Hall
    waiting: list[Buyer]
    shoppers: list[Buyer]


def event_file(name: str, seats: int, room: dict[str, object]) -> dict[str, object]:
    """An event on sale since yesterday with so many seats, at two prices, in rows of 40."""
    now = time.time()
    rows = max(seats // _ROW_SEATS, 1)
    sections = [
        {
            "name": f"Section {first // _SECTION_ROWS + 1}",
            "tier": "Floor" if first < rows // 2 else "Balcony",
            "rows": [
                {"row": f"R{number + 1}", "first": 1, "last": _ROW_SEATS}
                for number in range(min(_SECTION_ROWS, rows - first))
            ],
        }
        for first in range(0, rows, _SECTION_ROWS)
    ]
    return {
        "name": name,
        "description": "An evening with the band, two sets and a break.",
        "artist": {"name": "Marlow Vance"},
        "category": "Concert",
        "venue": {
            "name": "Harbour Point Arena",
            "city": "New York",
            "state": "NY",
            "country": "US",
            "timezone": "America/New_York",
        },
        "date": _time(now + 30 * _DAY),
        "sale": {"general_sale_start": _time(now - _DAY)},
        "currency": "USD",
        "tax_rate": "0.09",
        "purchase_limit": 1000,
        "hold_seconds": _DAY,
        "tiers": [
            {"name": "Floor", "price": "500.00", "fees": "75.00"},
            {"name": "Balcony", "price": "50.00", "fees": "5.00"},
        ],
        "sections": sections,
        "waiting_room": {"claim_seconds": _DAY, "access_seconds": _DAY, **room},
    }


def make_scene(data: Path, reserves: int) -> Scene:
    """Makes a store in ``data`` in which ``reserves`` reservations of two seats can be made; what is in it."""
    return trio.run(_make_scene, data, reserves)


async def _make_scene(data: Path, reserves: int) -> Scene:
    settings = Settings(
        storage=StorageSettings(map_size_bytes=_MAP_BYTES),
        rate_limits=NO_RATE_LIMITS,
        hoarding=HoardingSettings(max_entries_per_address=0),
    )
    open_room: dict[str, object] = {"enabled": False}
    full_room: dict[str, object] = {"max_active": 1, "admit_per_minute": 1, "capacity": 10_000_000}
    async with open_daemon(data, settings, start_ms=int(time.time() * 1000)) as daemon:
        hall = await _put(daemon, event_file("The Hall", HALL_SEATS, open_room))
        sale = await _put(daemon, event_file("The Sale", 2 * reserves, open_room))
        queue = await _put(daemon, event_file("The Queue", 1000, full_room))
        await _join(daemon.client(), queue)  # the one who is let in
        waiting = [await _join(daemon.client(), queue) for _ in range(WAITING_BUYERS)]
        joined = [await _join(daemon.client(), sale) for _ in range(SHOPPERS)]
        shoppers = [await _enter(daemon.client(), buyer) for buyer in joined]
        return Scene(
            api_key=daemon.keys[Scope.STOREFRONT],
            hall=hall,
            sale=sale,
            queue=queue,
            waiting=waiting,
            shoppers=shoppers,
        )


async def _put(daemon: Daemon, document: dict[str, object]) -> Hall:
    event_id = await put_plan(daemon, document)
    details = await daemon.client().get(f"/v1/events/{event_id}")
    seat_map = await daemon.client().get(f"/v1/events/{event_id}/seats")
    assert (details.status, seat_map.status) == (200, 200), (details.body, seat_map.body)
    return Hall(event_id=str(event_id), details=details.json, seat_map=seat_map.json)


async def _join(client: Client, hall: Hall) -> Buyer:
    user_id, device = str(uuid4()), f"device-{uuid4().hex}"
    body = {"event_id": hall.event_id, "user_id": user_id, "device_fingerprint": device}
    joined = await client.post("/v1/queue/join", body)
    assert joined.status == 200, joined.body
    return Buyer(
        user_id=user_id, device=device, entry_id=joined.json["entry_id"], token=joined.json["queue_token"]
    )


async def _enter(client: Client, buyer: Buyer) -> Buyer:
    status = await client.with_token(buyer.token, buyer.device).get("/v1/queue/status")
    assert status.json["status"] == "READY", status.body
    return msgspec.structs.replace(buyer, token=status.json["access_token"])


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
