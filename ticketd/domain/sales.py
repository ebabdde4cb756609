"""The phase that an event's sale is in: worked out from its dates and its seats, never stored.

What a phase allows is decided by whoever asks: the room, the reservations, the views.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from storage.engine import Reader
from storage.schema.ids import EventId
from storage.schema.layout import SALE, TOTAL, event_partition
from storage.schema.records import CountRecord, SaleRecord
from ticketd.errors import ErrorCode, Refusal


class SalePhase(StrEnum):
    """Where a sale stands, as ``availability`` and ``sale_info.status`` say it."""

    UPCOMING = "UPCOMING"
    LOBBY = "LOBBY"
    PRESALE = "PRESALE"
    ON_SALE = "ON_SALE"
    SOLD_OUT = "SOLD_OUT"
    ENDED = "ENDED"
    CANCELLED = "CANCELLED"


OPEN_PHASES: Final = frozenset({SalePhase.PRESALE, SalePhase.ON_SALE})
"""The phases in which there is something to buy."""


def sale_ends_ms(sale: SaleRecord) -> int:
    """When the sale ends: at its own end, or when the event begins."""
    return sale.date_ms if sale.sale_end_ms is None else sale.sale_end_ms


def sale_opens_ms(sale: SaleRecord) -> int:
    """When the first buyers may buy: at the presale's start, or at the general sale's."""
    presale_start_ms = sale.presale_start_ms
    return (
        sale.general_sale_start_ms
        if presale_start_ms is None
        else min(presale_start_ms, sale.general_sale_start_ms)
    )


def sale_phase(sale: SaleRecord, total: CountRecord, now_ms: int) -> SalePhase:
    """The phase at ``now_ms``. A time that has come counts: at ``general_sale_start_ms`` the sale is open.

    SOLD_OUT when every seat is sold or blocked, once the sale has opened; a seat that is only held may come back.
    """
    phase = phase_by_date(sale, now_ms)
    if phase in OPEN_PHASES and total.free + total.held == 0:
        return SalePhase.SOLD_OUT
    return phase


def phase_by_date(sale: SaleRecord, now_ms: int) -> SalePhase:
    """The phase whatever seats are left: as ``sale_phase``, but never SOLD_OUT."""
    if sale.cancelled:
        return SalePhase.CANCELLED
    if now_ms >= sale_ends_ms(sale):
        return SalePhase.ENDED
    if now_ms < sale_opens_ms(sale):
        lobby_opens_ms = sale.room.lobby_opens_ms
        in_lobby = sale.room.enabled and lobby_opens_ms is not None and now_ms >= lobby_opens_ms
        return SalePhase.LOBBY if in_lobby else SalePhase.UPCOMING
    return SalePhase.ON_SALE if now_ms >= sale.general_sale_start_ms else SalePhase.PRESALE


def sale_is_over(sale: SaleRecord, now_ms: int) -> bool:
    """Whether the phase is ENDED or CANCELLED, after which no other comes by itself; no seat need be counted."""
    return sale.cancelled or now_ms >= sale_ends_ms(sale)


def load_sale(reader: Reader, event_id: EventId) -> SaleRecord:
    """The sale of an event. Refuses EVENT_NOT_FOUND."""
    sale = SALE.get(reader, event_partition(event_id))
    if sale is None:
        raise Refusal(ErrorCode.EVENT_NOT_FOUND, details={"event_id": str(event_id)})
    return sale


def load_total(reader: Reader, event_id: EventId) -> CountRecord:
    """How many seats of the event are in each state; all 0 for an unknown event."""
    return TOTAL.get(reader, event_partition(event_id)) or CountRecord()
