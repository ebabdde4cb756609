"""The operator's hand on a waiting room: pausing, resuming, and how many are let in."""

from __future__ import annotations

import msgspec

from handlers.answers import answer
from handlers.call import Call, Reply
from handlers.commit import Decision, commit
from handlers.operator_deeds import audited
from handlers.services import Services
from handlers.wire.operator import RoomAnswer, SetRoomBody
from storage.engine import Reader, Transaction
from storage.schema.ids import EventId
from storage.schema.layout import ROOM, SYSTEM, event_partition
from storage.schema.records import RoomRecord
from ticketd.domain.rooms import SetRoom, set_room
from ticketd.domain.sales import load_sale
from ticketd.errors import Detail, ErrorCode, Refusal


async def set_event_room(services: Services, call: Call[SetRoomBody]) -> Reply:
    """200 with the room as it is now. Refuses INVALID_REQUEST for no change or both, then EVENT_NOT_FOUND."""
    event_id = EventId(call.path_id("event_id", ErrorCode.EVENT_NOT_FOUND))
    asked = _what_is_asked(call.body)
    command = msgspec.convert({"event_id": event_id, **asked}, SetRoom)

    def decide(tx: Transaction) -> RoomAnswer:
        set_room(tx, command)
        return room_answer(tx, event_id)

    decision = Decision(
        "set_room",
        (event_partition(event_id), SYSTEM),
        audited(call, ("room.set", str(event_id)), decide, lambda _: asked),
        answer,
        may_use_reserve=True,
    )
    return await commit(services, call, decision)


def room_answer(view: Reader, event_id: EventId) -> RoomAnswer:
    """A room as it is told. Refuses EVENT_NOT_FOUND."""
    settings = load_sale(view, event_id).room
    room = ROOM.get(view, event_partition(event_id)) or RoomRecord()
    return RoomAnswer(
        event_id=event_id,
        enabled=settings.enabled,
        paused=room.paused,
        max_active=settings.max_active,
        admit_per_minute=settings.admit_per_minute,
        slowed_to_per_minute=room.slowed_to_per_minute,
        capacity=settings.capacity,
        lobby=room.lobby,
        waiting=room.waiting,
        active=room.active,
        admitted=room.admitted,
    )


def _what_is_asked(body: SetRoomBody) -> dict[str, Detail]:
    if body.pause and body.resume:
        raise Refusal(
            ErrorCode.INVALID_REQUEST, details={"problem": "pause and resume cannot both be asked for"}
        )
    asked: dict[str, Detail] = {}
    if body.pause or body.resume:
        asked["paused"] = body.pause
    limits = {
        "max_active": body.max_active,
        "admit_per_minute": body.admit_per_minute,
        "capacity": body.capacity,
    }
    asked.update({name: value for name, value in limits.items() if isinstance(value, int)})
    if not asked:
        names = "pause, resume, max_active, admit_per_minute or capacity"
        raise Refusal(ErrorCode.INVALID_REQUEST, details={"problem": f"one of {names} is needed"})
    return asked
