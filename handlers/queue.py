"""The queue: joining an event's waiting room, asking how far one is, leaving.

Who may vouch for a buyer is judged here; who is admitted when is the domain's.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from config.settings import RoomSettings
from handlers.answers import answer, no_content, time_text
from handlers.call import AnyCall, Call, Principal, Reply, parse_uuid
from handlers.commit import Decision, commit
from handlers.hoarding import counted_address
from handlers.services import Services
from handlers.wire.queue import JoinAnswer, JoinQueue, StatusAnswer
from storage.engine import Transaction
from storage.schema.ids import EntryId, EventId, UserId
from storage.schema.layout import event_partition
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.credentials.devices import DeviceHash, hash_device
from ticketd.credentials.tokens import PlaceGrant, mint_queue
from ticketd.domain.rooms import (
    JoinedRoom,
    JoinRoom,
    LeaveRoom,
    join_room,
    leave_room,
)
from ticketd.domain.waits import whole_minutes
from ticketd.errors import ErrorCode, Refusal
from ticketd.ids import new_id
from ticketd.views.places import find_standing

_READY: Final = "READY"
_ADMITTED: Final = frozenset({EntryState.READY, EntryState.SHOPPING})
_POLLS_WHILE_WAITING: Final = 10
"""A buyer far from the front polls about this often before being let in."""


async def join_queue(services: Services, call: Call[JoinQueue]) -> Reply:
    """200 with a queue token and the place. Who is let in while joining is READY; the access token comes by status."""
    body = call.body
    check_buyer(call.principal, UserId(body.user_id))
    event = parse_uuid(body.event_id)
    if event is None:
        raise Refusal(ErrorCode.INVALID_EVENT_ID)
    command = JoinRoom(
        event_id=EventId(event),
        user_id=UserId(body.user_id),
        device_hash=hash_device(body.device_fingerprint),
        entry_id=EntryId(new_id()),
        presale_code=body.presale_code,
        address_hash=counted_address(call.principal, call.client, services.keys.address_secret),
        max_entries_per_address=services.settings.hoarding.max_entries_per_address,
    )

    def decide(tx: Transaction) -> JoinedRoom:
        return join_room(tx, command)

    def render(joined: JoinedRoom) -> Reply:
        minutes = 0 if joined.entry.state is EntryState.READY else whole_minutes(joined.wait_ms)
        return answer(
            JoinAnswer(
                queue_token=queue_token(services, command.event_id, joined.entry, joined.entry.joined_at_ms),
                queue_position=joined.position,
                estimated_wait_minutes=minutes,
                queue_size=joined.queue_size,
                status=joined.entry.state.value,
                poll_interval_seconds=poll_interval_seconds(
                    services.settings.rooms, joined.wait_ms, joined.quiet_ms
                ),
                entry_id=joined.entry.entry_id,
            )
        )

    with services.hoarding.counting(command.event_id):
        return await commit(
            services, call, Decision("join_room", (event_partition(command.event_id),), decide, render)
        )


def queue_status(services: Services, call: AnyCall) -> Reply | Awaitable[Reply]:
    """200 with the place in line, or READY with the access token. Refuses QUEUE_ENTRY_EXPIRED once the place ended."""
    event_id, entry_id = call.principal.event_id, call.principal.entry_id
    partition = event_partition(event_id)
    with services.engine.snapshot(partition) as view:
        standing = find_standing(view, services.positions, event_id, entry_id)
    if standing.state in _ADMITTED:
        return _ready(services, event_id, standing.entry)
    return answer(
        StatusAnswer(
            queue_position=standing.position,
            status=standing.state.value,
            access_granted=False,
            estimated_wait_minutes=whole_minutes(standing.wait_ms),
            queue_size=standing.queue_size,
            poll_interval_seconds=poll_interval_seconds(
                services.settings.rooms, standing.wait_ms, standing.quiet_ms
            ),
        )
    )


async def leave_queue(services: Services, call: AnyCall) -> Reply:
    """204: the place is given up, and goes to the next in line. A hold that the buyer has lives on until its end."""
    command = LeaveRoom(event_id=call.principal.event_id, entry_id=call.principal.entry_id)

    def decide(tx: Transaction) -> None:
        leave_room(tx, command)

    return await commit(
        services,
        call,
        Decision("leave_room", (event_partition(command.event_id),), decide, lambda _: no_content()),
    )


def check_buyer(principal: Principal, user_id: UserId) -> None:
    """Refuses USER_MISMATCH for a ``user_id`` that is not the token's; whether a token is needed was judged before."""
    if principal.claims is not None and principal.claims.user_id != user_id:
        raise Refusal(ErrorCode.USER_MISMATCH)


def poll_interval_seconds(settings: RoomSettings, wait_ms: int, quiet_ms: int | None = None) -> int:
    """How long to wait before asking again: short near the front, longer far from it; never so long that a turn would
    be missed, where ``quiet_ms`` tells how long that is, and never under the shortest interval."""
    wanted = min(wait_ms // (_POLLS_WHILE_WAITING * 1000), settings.poll_interval_max_seconds)
    if quiet_ms is not None:
        wanted = min(wanted, quiet_ms // 1000)
    return max(settings.poll_interval_seconds, wanted)


async def _ready(services: Services, event_id: EventId, entry: EntryRecord) -> Reply:
    """The access token. The first time, this starts the shopping window."""
    grant = await services.access.grant(event_id, entry)
    return answer(
        StatusAnswer(
            queue_position=0,
            status=_READY,
            access_granted=True,
            access_token=grant.token,
            expires_at=time_text(grant.expires_at_ms),
        )
    )


def queue_token(services: Services, event_id: EventId, entry: EntryRecord, issued_at_ms: int) -> str:
    """A queue token for a place, issued at ``issued_at_ms``."""
    grant = PlaceGrant(
        user_id=entry.user_id,
        event_id=event_id,
        entry_id=entry.entry_id,
        device_hash=DeviceHash(entry.device_hash),
        jti=entry.entry_id,
        issued_at_ms=issued_at_ms,
        ttl_seconds=services.settings.auth.queue_token_seconds,
    )
    return mint_queue(services.keys.keyring, grant).token
