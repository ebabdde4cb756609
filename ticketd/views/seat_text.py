"""Seats as they stand in a seat map's answer: the bytes of a row, and of one seat cut out of them.

A row's text is its seats' JSON objects, from one end of the row to the other, with commas between. It is put together
by hand, since a map has tens of thousands of seats; the tests hold it against the form of the API document. When it is
made, and what is kept, is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from storage.schema.ids import EventId, RowKey, SeatNumber, seat_id, seat_number
from storage.schema.records import RowPlanRecord, RowRecord, SaleRecord
from storage.schema.states import SeatState
from ticketd.event_file.currencies import decimal_text

# The last 48 bits of a seat's id are its number: the last twelve digits of its text.
_FRONT_CHARACTERS: Final = 24
_NEXT_SEAT: Final = b',{"seat_id":"'


class SeatStyle:
    """What the texts of all seats of an event have in common: the front of their ids, their tiers' prices."""

    __slots__ = ("_head", "_middles")

    def __init__(self, event_id: EventId, sale: SaleRecord) -> None:
        self._head = '{"seat_id":"' + str(seat_id(event_id, SeatNumber(0)))[:_FRONT_CHARACTERS]
        tiers = [
            f'"price":{decimal_text(tier.price_minor, sale.currency)},"tier_id":"{tier.tier_id}"'
            for tier in sale.tiers
        ]
        self._middles = {
            state.value: [f'"status":"{state.name}",{tier}' for tier in tiers] for state in SeatState
        }

    def row_text(self, row_key: RowKey, plan: RowPlanRecord, record: RowRecord | None) -> bytes:
        """The seats of a row in the order of the hall. Without a record, all are AVAILABLE."""
        stored = b"" if record is None else record.states
        states = stored.ljust(plan.slots, bytes((SeatState.AVAILABLE,)))
        front, head, middles = seat_number(row_key, 0), self._head, self._middles
        texts: list[str] = []
        for seat in plan.seats:
            position = seat.position
            text = (
                f'{head}{front | position:012x}","number":{json_text(seat.number)},'
                f"{middles[states[position]][seat.tier]}"
            )
            if seat.x is not None and seat.y is not None:
                text += f',"x":{_number_text(seat.x)},"y":{_number_text(seat.y)}'
            texts.append(text)
        return ("},".join(texts) + "}").encode() if texts else b""

    def cut_seats(self, row_text: bytes, seats: Iterable[SeatNumber]) -> bytes:
        """Those of the seats that stand in a row's text, in its order, with commas between."""
        places = [row_text.find(f"{self._head}{seat:012x}".encode()) for seat in seats]
        return b",".join(_cut(row_text, sorted(place for place in places if place >= 0)))


def _cut(row_text: bytes, places: Sequence[int]) -> Iterator[bytes]:
    for start in places:
        # Within a JSON text a quotation mark is escaped, so this is found between two seats only.
        end = row_text.find(_NEXT_SEAT, start)
        yield row_text[start:] if end < 0 else row_text[start:end]


@lru_cache(maxsize=4096)
def json_text(text: str) -> str:
    """A text as JSON has it, with its quotation marks."""
    return msgspec.json.encode(text).decode()


def _number_text(number: float) -> str:
    return msgspec.json.encode(number).decode()
