"""Event files that are nearly right: read in this process, in great number, and some put into the daemon.

The reader takes a file or tells its faults; nothing else may come of one. What it takes, the daemon takes, and what it
refuses, the daemon refuses.
"""

from __future__ import annotations

import json
import random
from itertools import count
from typing import Final
from uuid import UUID

import httpx

from tests.event_file.samples import FULL, LEAST, SEATED
from tests.ladder.fuzz.answers import Answer, wrong_about
from tests.ladder.fuzz.cases import Log
from tests.ladder.fuzz.mutation import NASTY_BYTES, change_bytes, change_document
from tests.ladder.fuzz.scene import Scene
from tests.support.events import arena_file, room
from ticketd.event_file.faults import EventFileInvalid
from ticketd.event_file.parse import parse_event_file
from ticketd.event_file.plan import EventPlan

PART: Final = "event files"
EVENT_ID: Final = UUID(int=0xF0000)
"""Under which files are put that name none or this one."""
SAMPLES: Final = (FULL, LEAST, SEATED, arena_file(waiting_room=room()))
PUT_EVERY: Final = 8
"""One in so many files goes to the daemon, too."""
MOST_SEATS_PUT: Final = 20_000
"""Larger ones are right, but slow."""


def play_event_files(scene: Scene, log: Log, seconds: float) -> None:
    """Reads files for so long, and puts some."""
    over = log.until(PART, seconds)
    for number in count(log.played.get(PART, 0)):
        if over():
            return
        chance = log.chance(PART, number)
        data = nearly(chance)
        plan, wrong = read_file(data)
        if wrong is None and number % PUT_EVERY == 0 and (plan is None or plan.seat_count <= MOST_SEATS_PUT):
            wrong = _put(scene, data, plan is not None)
        log.note(PART, number, None if wrong is None else f"{wrong}\nof {data[:3000]!r}")


def nearly(chance: random.Random) -> bytes:
    """A file that is nearly right."""
    document = chance.choice(SAMPLES)
    changed = document if chance.random() < 0.2 else change_document(chance, document)
    data = json.dumps(changed, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    match chance.randrange(10):
        case 0:
            return change_bytes(chance, data)
        case 1:
            return chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"[" * 100_000, b" ", *NASTY_BYTES)) + data
        case 2:
            # A name that is given twice.
            return data[:-1] + b', "name": "Twice"}'
        case _:
            return data


def read_file(data: bytes) -> tuple[EventPlan | None, str | None]:
    """The plan, if the file is right; and what is wrong about the reader."""
    try:
        return parse_event_file(data, event_id=EVENT_ID), None
    except EventFileInvalid as refusal:
        return None, None if refusal.faults and str(refusal) else "a refusal that names no fault"
    except Exception as error:  # whatever else it may raise is what is looked for
        return None, f"reading raised {error!r}"


def _put(scene: Scene, data: bytes, right: bool) -> str | None:
    """Puts a file, and takes the event away again."""
    operator, target = scene.house.operator, f"/v1/operator/events/{EVENT_ID}"
    got = operator.put(target, content=data, headers={"content-type": "application/json"})
    wrong = wrong_about(_answer(got))
    if wrong is None and got.is_success is not right:
        said = "takes" if right else "refuses"
        wrong = f"the reader {said} it, and the daemon answered {got.status_code}: {got.text[:500]}"
    if got.is_success:
        seen = [
            operator.get(target),
            operator.get("/v1/operator/events?per_page=5"),
            operator.delete(target),
        ]
        wrong = wrong or next(
            (f"then {one.request.method} was answered {one.status_code}" for one in seen if one.is_error),
            None,
        )
    return wrong


def _answer(got: httpx.Response) -> Answer:
    return Answer(got.status_code, dict(got.headers), got.content)
