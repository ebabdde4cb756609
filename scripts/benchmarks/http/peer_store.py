"""The scene in the databases of the peers: the same events, seats and buyers, with tokens of the peers' own."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from scripts.benchmarks.http.postgres import make_cluster
from scripts.benchmarks.http.scene import Buyer, Hall, Scene
from scripts.benchmarks.peers.tokens import Place, hash_device, mint

SECRET: Final = "a secret of the benchmark, of thirty-two bytes and more"
_SCHEMA: Final = Path(__file__).parent.parent / "peers" / "schema.sql"
_DAY: Final = 86_400
_NULL: Final = "\\N"

Row = tuple[str | int | float | None, ...]


def peer_scene(scene: Scene) -> Scene:
    """The scene with tokens that the peers have minted."""

    def with_token(buyer: Buyer, kind: str, hall: Hall) -> Buyer:
        place = Place(buyer.user_id, hall.event_id, buyer.entry_id)
        return msgspec.structs.replace(buyer, token=mint(SECRET, kind, place, hash_device(buyer.device)))

    return msgspec.structs.replace(
        scene,
        waiting=[with_token(buyer, "queue", scene.queue) for buyer in scene.waiting],
        shoppers=[with_token(buyer, "access", scene.sale) for buyer in scene.shoppers],
    )


def make_sqlite(path: Path, scene: Scene) -> None:
    """A database file with the scene in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SCHEMA.read_text())
    for table, rows in _tables(scene).items():
        made = list(rows)
        marks = ",".join("?" * len(made[0]))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", made)
    connection.commit()
    connection.execute("ANALYZE")
    connection.close()


def make_postgres(folder: Path, scene: Scene, core: int, log: Path) -> None:
    """A cluster in ``folder`` with the scene in it."""
    files = {}
    for table, rows in _tables(scene).items():
        file = folder.parent / f"{table}.copy"
        with file.open("w") as output:
            for row in rows:
                output.write("\t".join(_copied(value) for value in row) + "\n")
        file.chmod(0o644)
        files[table] = file
    make_cluster(folder, _SCHEMA.read_text(), files, core, log)


def _copied(value: str | float | None) -> str:
    """A value as COPY reads it (PostgreSQL, COPY, text format)."""
    return (
        _NULL if value is None else str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    )


def _tables(scene: Scene) -> dict[str, Iterator[Row]]:
    key_hash = hashlib.sha256(scene.api_key.encode()).hexdigest()
    halls = (scene.hall, scene.sale, scene.queue)
    waiting = {scene.queue.event_id: len(scene.waiting)}
    until = int(time.time()) + _DAY
    return {
        "api_keys": iter([(key_hash, "storefront")]),
        "events": (_event(hall, admits_at_once=hall is not scene.queue) for hall in halls),
        "rooms": (
            (hall.event_id, waiting.get(hall.event_id, 0) + 1, waiting.get(hall.event_id, 0))
            for hall in halls
        ),
        "entries": (
            (buyer.entry_id, hall.event_id, buyer.user_id, hash_device(buyer.device), place, status, ends)
            for hall, buyers, status, ends in (
                (scene.queue, scene.waiting, "QUEUED", None),
                (scene.sale, scene.shoppers, "SHOPPING", until),
            )
            for place, buyer in enumerate(buyers, 1)
        ),
        "seats": (row for hall in halls for row in _seats(hall)),
    }


def _event(hall: Hall, *, admits_at_once: bool) -> Row:
    details = hall.details
    return (
        hall.event_id,
        json.dumps(details),
        details["purchase_limit"],
        details["hold_seconds"],
        details["tax_rate"],
        int(admits_at_once),
    )


def _seats(hall: Hall) -> Iterator[Row]:
    prices = {
        tier["tier_id"]: (round(tier["price"] * 100), round(tier["fees"] * 100))
        for tier in hall.details["pricing_tiers"]
    }
    ordinal = 0
    for section in hall.seat_map["sections"]:
        for row in section["rows"]:
            for seat in row["seats"]:
                ordinal += 1
                yield (
                    seat["seat_id"],
                    hall.event_id,
                    ordinal,
                    section["section_id"],
                    section["name"],
                    row["row"],
                    seat["number"],
                    seat["tier_id"],
                    *prices[seat["tier_id"]],
                    seat["status"],
                    None,
                )
