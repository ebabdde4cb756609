"""The draw of a lobby, for everybody: the commitment from the lobby's opening on, seed and order once it is made."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from handlers.answers import answer, encode_json
from handlers.call import AnyCall, Reply, parse_uuid
from handlers.services import Services
from handlers.wire.queue import DrawAnswer, DrawQuery
from storage.engine import Command
from storage.schema.draws import ALGORITHM, commitment_of
from storage.schema.ids import EventId
from storage.schema.layout import event_partition
from storage.schema.records import DrawRecord
from ticketd.domain.draws import has_lobby, prepare_draw
from ticketd.domain.room_book import RoomReading
from ticketd.domain.times import rfc3339
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_seed

COMMITTED: Final = "COMMITTED"
DRAWN: Final = "DRAWN"


async def get_draw(services: Services, call: AnyCall) -> Reply:
    """200 with the draw; before it is made without its seed, whatever is asked for.

    Refuses, in this order: INVALID_EVENT_ID; NOT_FOUND for an event without a lobby; SALE_NOT_OPEN with ``opens_at``
    before the lobby opens; OVERLOADED while the lists of another draw are written.
    """
    query = call.query_as(DrawQuery)
    found = parse_uuid(query.event_id)
    if found is None:
        raise Refusal(ErrorCode.INVALID_EVENT_ID)
    event_id = EventId(found)
    with services.engine.snapshot(event_partition(event_id)) as view:
        room = RoomReading.of(view, event_id, view.now_ms)
        if room is None:
            raise Refusal(ErrorCode.INVALID_EVENT_ID)
        _require_open_lobby(room)
        draw, lobby = room.draw, room.room.lobby
    if draw is None:
        draw = await _prepare(services, event_id)
    shown = _shown(event_id, draw, lobby)
    if draw.drawn_at_ms is None or not query.full:
        return answer(shown)
    texts = await services.draw_writer.write(event_id, draw)
    head = encode_json(shown)[:-1]
    return Reply(
        status=200, body=b"".join((head, b',"entries":', texts.entries, b',"order":', texts.order, b"}"))
    )


def _require_open_lobby(room: RoomReading) -> None:
    if room.room.lobby or room.lobby_is_closed:
        return
    opens_ms = room.sale.room.lobby_opens_ms
    if opens_ms is None or not has_lobby(room.sale):
        raise Refusal(ErrorCode.NOT_FOUND, "This event has no lobby, and so no draw.")
    if room.now_ms < opens_ms:
        raise Refusal(ErrorCode.SALE_NOT_OPEN, details={"opens_at": rfc3339(opens_ms)})


async def _prepare(services: Services, event_id: EventId) -> DrawRecord:
    """The draw of an event that was stored by a release without draws."""
    seed = new_seed()
    committed = await services.engine.submit(
        Command("prepare_draw", (event_partition(event_id),), lambda tx: prepare_draw(tx, event_id, seed))
    )
    return committed.result


def _shown(event_id: EventId, draw: DrawRecord, lobby: int) -> DrawAnswer:
    shown = DrawAnswer(
        event_id=event_id,
        status=COMMITTED if draw.drawn_at_ms is None else DRAWN,
        algorithm=ALGORITHM,
        commitment=commitment_of(draw.seed).hex(),
        entry_count=lobby if draw.entry_count is None else draw.entry_count,
    )
    if draw.drawn_at_ms is None:
        return shown
    return replace(shown, seed=draw.seed.hex())
