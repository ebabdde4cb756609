"""Bodies and answers, as the API has them."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JoinBody(Body):
    event_id: UUID
    user_id: UUID
    device_fingerprint: str = Field(min_length=1, max_length=256)


class ReserveBody(Body):
    event_id: UUID
    user_id: UUID
    seat_ids: list[UUID] = Field(min_length=1, max_length=1000)


class JoinAnswer(BaseModel):
    queue_token: str
    queue_position: int
    estimated_wait_minutes: int
    queue_size: int
    status: str
    poll_interval_seconds: int
    entry_id: str


class StatusAnswer(BaseModel):
    queue_position: int
    status: str
    access_granted: bool
    estimated_wait_minutes: int
    queue_size: int
    poll_interval_seconds: int


class ReservedSeat(BaseModel):
    seat_id: str
    section: str
    row: str
    seat: str
    price: float
    fees: float


class ReservationAnswer(BaseModel):
    reservation_id: str
    event_id: str
    seat_ids: list[str]
    seats: list[ReservedSeat]
    status: str
    expires_at: str
    currency: str
    total_price: float
    fees: float
    total: float
    taxes: float
    grand_total: float
