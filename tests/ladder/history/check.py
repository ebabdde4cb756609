"""Whether a recorded history is one of a store that does one thing after another, in an order that real time allows.

The versions that the answers tell are the order of the commits. In that order the sale is played anew
(``tests.ladder.history.model``), and every answer must be the one that had to be given at its place; whatever was
answered before another call began must come before it; and every change must have been told to exactly one who asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from storage.engine import Change
from storage.schema.events import EntryMoved, OrderMoved, SeatsMoved
from storage.schema.states import EntryState, OrderState, SeatState
from tests.ladder.history.answers import judge_answer
from tests.ladder.history.model import Difference, Sale
from tests.ladder.sale.recording import Operation

_WITHOUT_EVENT = frozenset({"card", "seats"})
_NAMELESS = frozenset({"status", "leave"})
"""Calls whose answers do not name the entry that they are about."""
_DONE_BY = {
    "hold": ("reserve", "reserve_best"),
    "released": ("release",),
    "left": ("leave",),
    "entry": ("join",),
    "claim": ("status",),
    "placed": ("pay",),
    "cancelled": ("cancel",),
}


@dataclass
class History:
    """What was recorded: the calls, and the changes of the event since the version ``start``, when ``sale`` began."""

    operations: Sequence[Operation]
    changes: Sequence[Change]
    sale: Sale
    start: int
    made: dict[str, Operation] = field(default_factory=dict)
    """What calls have made, and which."""
    lost: bool = False
    """Whether the sale could not be played to its end."""


def differences(history: History) -> Iterator[str]:
    """All that is wrong, a sentence each."""
    yield from check_forms(history.operations)
    yield from check_real_time(history.operations)
    yield from check_repetitions(history.operations)
    yield from replay(history)
    if not history.lost:
        yield from check_told(history)


def check_forms(operations: Iterable[Operation]) -> Iterator[str]:
    """No answer is an error of the daemon's own, and each that the event had a part in tells its version."""
    for operation in operations:
        if operation.status is not None and operation.status >= 500:
            yield f"the daemon failed: {operation.told()}"


def check_real_time(operations: Iterable[Operation]) -> Iterator[str]:
    """What was answered before a call began is before it in the order of commits, in every partition."""
    by_partition: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        for partition in operation.versions:
            by_partition[partition].append(operation)
    for partition, of_partition in by_partition.items():
        yield from _check_order(partition, of_partition)


def _check_order(partition: str, operations: list[Operation]) -> Iterator[str]:
    ended = sorted(
        (one for one in operations if one.completed is not None), key=lambda one: one.completed or 0
    )
    newest: Operation | None = None
    owners: dict[int, Operation] = {}
    at = 0
    for operation in sorted(operations, key=lambda one: one.invoked):
        while at < len(ended) and (ended[at].completed or 0) < operation.invoked:
            one = ended[at]
            if newest is None or one.versions[partition].version > newest.versions[partition].version:
                newest = one
            at += 1
        number = operation.versions[partition]
        if newest is not None and newest.versions[partition].version + number.new > number.version:
            yield f"{partition}: {operation.told()} began after {newest.told()} was answered, but comes before it"
        if number.new and (other := owners.setdefault(number.version, operation)) is not operation:
            yield f"{partition}: one change is told as done by {operation.told()} and by {other.told()}"


def check_repetitions(operations: Iterable[Operation]) -> Iterator[str]:
    """The same key is answered by the same bytes."""
    first: dict[str, Operation] = {}
    replays: list[Operation] = []
    for operation in operations:
        if operation.key is None or operation.status is None:
            continue
        # Such an answer is not kept: whoever asks again may be let through.
        is_for_now = (
            operation.code.startswith("IDEMPOTENCY_KEY") or operation.status == HTTPStatus.TOO_MANY_REQUESTS
        )
        if operation.replayed:
            replays.append(operation)
            if is_for_now:
                yield f"{operation.told()} was kept, and holds for now alone"
            continue
        if is_for_now:
            continue
        if (other := first.setdefault(operation.key, operation)) is not operation:
            yield f"one key is answered twice anew: {other.told()} and {operation.told()}"
    for operation in replays:
        original = first.get(operation.key or "")
        if original is None:
            continue  # its first answer was lost on the way
        if (original.status, original.answer) != (operation.status, operation.answer):
            yield f"{operation.told()} does not repeat {original.told()}"


def replay(history: History) -> Iterator[str]:
    """Plays the sale in the order of its commits, and judges each answer at its place."""
    at_version: dict[int, list[Operation]] = defaultdict(list)
    maps: dict[int, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        if operation.status is None or operation.replayed or operation.code.startswith("IDEMPOTENCY_KEY"):
            continue
        if operation.kind == "seats" and operation.status == 200:
            maps[operation.json["version"]].append(operation)
        elif operation.kind not in _WITHOUT_EVENT:
            number = operation.of_event
            at_version[-1 if number is None else number.version].append(operation)
    yield from (
        f"no version of the event is told: {operation.told()}" for operation in at_version.pop(-1, [])
    )
    yield from _judge(history, at_version.pop(history.start, []))
    yield from _judge_maps(history.sale, maps.pop(history.start, []))
    for change in history.changes:
        try:
            history.sale.follow(change.event)
        except Difference as difference:
            yield f"change {change.version}: {difference}"
            history.lost = True  # all that follows is played in another sale
            return
        yield from _judge(history, at_version.pop(change.version, []))
        yield from _judge_maps(history.sale, maps.pop(change.version, []))
    left = [one for several in (*at_version.values(), *maps.values()) for one in several]
    yield from (f"a version that is not in the change log: {operation.told()}" for operation in left)


def _judge(history: History, operations: Iterable[Operation]) -> Iterator[str]:
    for operation in operations:
        try:
            made = judge_answer(history.sale, operation)
        except Difference as difference:
            yield f"{difference}: {operation.told()}"
            continue
        if made is not None and (other := history.made.setdefault(made, operation)) is not operation:
            yield f"{made} is told to two: {operation.told()} and {other.told()}"


def _judge_maps(sale: Sale, operations: Iterable[Operation]) -> Iterator[str]:
    for operation in operations:
        told = {
            seat["seat_id"]: seat["status"]
            for section in operation.json["sections"]
            for row in section["rows"]
            for seat in row["seats"]
        }
        if wrong := {seat: state for seat, state in sale.states().items() if told.get(seat) != state}:
            shown = {seat: (state, told.get(seat)) for seat, state in wrong.items()}
            yield f"the seat map of version {operation.json['version']} is not of that version: {shown}"


def check_told(history: History) -> Iterator[str]:
    """Every change that a buyer asked for was told to one, be it to one who asked again under the same key; unless the
    call for it was never answered."""
    answered = {
        one.key for one in history.operations if one.status is not None and not one.code.startswith("IDEMP")
    }
    repeated = {thing for one in history.operations if one.replayed and (thing := _thing_told(one))}
    unanswered = {
        (one.buyer, one.kind)
        for one in history.operations
        if one.status is None and (one.key not in answered or one.kind in _NAMELESS)
    }
    for change in history.changes:
        thing, user = _thing_of(change.event)
        if not thing or thing in history.made or thing in repeated:
            continue
        if not any((user, kind) in unanswered for kind in _DONE_BY[thing.partition(" ")[0]]):
            yield f"change {change.version} was told to nobody: {change.event}"


def _thing_told(operation: Operation) -> str:
    """What an answer that is repeated says to have made; empty for one that names nothing."""
    match operation.kind, operation.status:
        case "join", 200:
            return f"entry {operation.json['entry_id']}"
        case (("reserve" | "reserve_best"), 201):
            return f"hold {operation.json['reservation_id']}"
        case "release", 204:
            return f"released {operation.target.rpartition('/')[2]}"
        case "pay", 201:
            return f"placed {operation.json['order_id']}"
    return ""


def _thing_of(event: object) -> tuple[str, str]:
    """What a change makes, as ``judge_answer`` names it, and for whom; empty for what nobody asks for."""
    thing = ""
    match event:
        case SeatsMoved(state=SeatState.RESERVED):
            thing = f"hold {event.reservation_id}"
        case SeatsMoved(state=SeatState.AVAILABLE, order_id=None):
            thing = f"released {event.reservation_id}"
        case EntryMoved(before=None):
            thing = f"entry {event.entry_id}"
        case EntryMoved(after=EntryState.LEFT):
            thing = f"left {event.entry_id}"
        case EntryMoved(after=EntryState.SHOPPING):
            thing = f"claim {event.entry_id}"
        case OrderMoved(state=OrderState.PENDING):
            thing = f"placed {event.order_id}"
    return thing, str(getattr(event, "user_id", ""))
