"""Coming back to a place in the line: a fresh queue token for whoever lost the old one. Nothing is written by it.

The place is found by its buyer, so somebody must vouch for the buyer in any case, also where one may join without: a
place that is taken must not be handed to whoever names its buyer.
"""

from __future__ import annotations

from handlers.answers import answer
from handlers.call import Call, Reply, parse_uuid
from handlers.queue import check_buyer, poll_interval_seconds, queue_token
from handlers.services import Services
from handlers.wire.queue import JoinAnswer, JoinQueue
from storage.schema.ids import EventId, UserId
from storage.schema.layout import event_partition
from storage.schema.records import EntryRecord
from storage.schema.states import EntryState
from ticketd.credentials.devices import DeviceHash, hash_device, same_device
from ticketd.domain.room_book import ACTIVE_STATES
from ticketd.domain.rooms import find_own_entry
from ticketd.domain.waits import whole_minutes
from ticketd.errors import ErrorCode, Refusal
from ticketd.views.places import find_standing


async def resume_queue(services: Services, call: Call[JoinQueue]) -> Reply:
    """200 with a fresh queue token for the place that one has already, in the form of the answer to joining.

    Who was let in is READY here, also while shopping; the access token comes by status. Refuses, in this order:
    USER_MISMATCH; INVALID_EVENT_ID; QUEUE_ENTRY_EXPIRED with ``status``; DEVICE_MISMATCH.
    """
    user_id = UserId(call.body.user_id)
    check_buyer(call.principal, user_id)
    event = parse_uuid(call.body.event_id)
    if event is None:
        raise Refusal(ErrorCode.INVALID_EVENT_ID)
    event_id = EventId(event)
    with services.engine.snapshot(event_partition(event_id)) as view:
        now_ms = view.now_ms
        entry = find_own_entry(view, event_id, user_id, now_ms)
        _check_device(services, entry, call.body.device_fingerprint)
        standing = find_standing(view, services.positions, event_id, entry.entry_id)
    is_in = standing.state in ACTIVE_STATES
    return answer(
        JoinAnswer(
            queue_token=queue_token(services, event_id, entry, now_ms),
            queue_position=standing.position,
            estimated_wait_minutes=0 if is_in else whole_minutes(standing.wait_ms),
            queue_size=standing.queue_size,
            status=(EntryState.READY if is_in else standing.state).value,
            poll_interval_seconds=poll_interval_seconds(
                services.settings.rooms, standing.wait_ms, standing.quiet_ms
            ),
            entry_id=entry.entry_id,
        )
    )


def _check_device(services: Services, entry: EntryRecord, fingerprint: str) -> None:
    """Refuses DEVICE_MISMATCH for another device than the one that joined, unless devices are not bound."""
    if services.settings.auth.device_binding == "off":
        return
    if not same_device(hash_device(fingerprint), DeviceHash(entry.device_hash)):
        raise Refusal(ErrorCode.DEVICE_MISMATCH, details={"field": "device_fingerprint"})
