"""Invariants of histories, in one place: what no order of commits, and no run of answers, may ever show.

What must be true of a store at rest is ``storage.verify``; here stands what can only be seen by watching: nobody
overtakes, admissions within rate, no hold past its end nor ended early, errors always in form, same key same bytes,
every acknowledged answer survives, events published are the changes committed, in order. The simulation watches a
daemon as it runs; the history checker and the rungs that kill the daemon judge what they have recorded.

    judge = ChangeJudge(read_sale=..., read_draw=...)
    problems = judge.take(changes)            # each commit, as it is published
    problems = judge.overdue(now_ms, 1000)    # when everything is quiet
    problems = judge.check_published(reader)  # the log of the store is what was published

    answers = AnswerJudge()
    problems = answers.take(answered)         # each answer, in the order in which they came
    problems = answers.check_kept(reader)     # at any time, also after a crash

    problems = judge_log(reader)              # all that the change logs of a store tell, from their beginning
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby

from storage.engine import Change, Partition, Reader
from storage.partitions import partitions
from storage.schema.events import (
    EVENT_CODEC,
    EntryMoved,
    EventDeleted,
    EventPut,
    HoldMoved,
    LobbyDrawn,
    OrderMoved,
    RoomChanged,
    SeatsMoved,
    TicketsIssued,
    TimeCredited,
    TransferMoved,
)
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import SALE, event_of, event_partition
from storage.schema.records import SaleRecord
from storage.verify.change_log import log_entries
from storage.verify.problem import Problem
from tests.ladder.judging.answers import Answered, AnswerJudge
from tests.ladder.judging.orders import OrdersJudge
from tests.ladder.judging.rooms import RoomJudge
from tests.ladder.judging.seats import SeatsJudge

__all__ = ["AnswerJudge", "Answered", "ChangeJudge", "Problem", "judge_log"]

ReadSale = Callable[[EventId], SaleRecord | None]
ReadDraw = Callable[[EventId], Sequence[EntryId] | None]


def _unknown(_: EventId) -> None:
    """Of this event nothing is known."""


class _EventJudge:
    """What is watched of one event."""

    def __init__(self, event_id: EventId) -> None:
        self.room = RoomJudge(event_id)
        self.seats = SeatsJudge(event_id)
        self.orders = OrdersJudge(event_id)

    def learn(self, sale: SaleRecord | None) -> None:
        self.room.sale = self.seats.sale = sale


class ChangeJudge:
    """Watches the changes of a store from its beginning, commit by commit.

    ``read_sale`` tells the settings of an event's sale as they are once a commit is durable; without it limits and
    rates are not judged. ``read_draw`` tells in which order a lobby was drawn; without it that order is not.
    """

    def __init__(self, read_sale: ReadSale = _unknown, read_draw: ReadDraw = _unknown) -> None:
        self._read_sale = read_sale
        self._read_draw = read_draw
        self._events: dict[EventId, _EventJudge] = {}
        self._versions: dict[Partition, list[bytes]] = {}
        self._newest_ms = 0

    def take(self, changes: Sequence[Change]) -> Iterator[Problem]:
        """The changes of one commit, in their order."""
        credits_ms = {
            change.event.event_id: change.event.credit_ms
            for change in changes
            if isinstance(change.event, TimeCredited)
        }
        for change in changes:
            # What was set by a commit holds for all of it, wherever in it that is told.
            if isinstance(change.event, EventPut | RoomChanged):
                self._judge_of(change.event.event_id).learn(self._read_sale(change.event.event_id))
        for change in changes:
            yield from self._check_order(change)
            event = change.event
            event_id: EventId | None = getattr(event, "event_id", None)
            if event_id is not None:
                yield from self._follow(event_id, change, credits_ms.get(event_id))
        for event_id in {change.event.event_id for change in changes if isinstance(change.event, SeatsMoved)}:
            yield from self._judge_of(event_id).seats.commit()

    def overdue(self, now_ms: int, slack_ms: int) -> Iterator[Problem]:
        """What should have ended more than ``slack_ms`` before ``now_ms`` (milliseconds UTC) and has not."""
        for judge in self._events.values():
            yield from judge.room.overdue(now_ms, slack_ms)
            yield from judge.seats.overdue(now_ms, slack_ms)

    def position(self, event_id: EventId, entry_id: EntryId) -> int | None:
        """The place of one who waits, 1 for the next, as of the newest commit; None where it cannot be told."""
        judge = self._events.get(event_id)
        return None if judge is None else judge.room.position(entry_id)

    def check_published(self, reader: Reader) -> Iterator[Problem]:
        """The change logs hold exactly what was told here, in that order, as far back as they go."""
        for partition in partitions(reader):
            told = self._versions.get(partition, [])
            version = 0
            for entry in log_entries(reader, partition):
                version = entry.version
                if version > len(told) or told[version - 1] != _digest(entry.at_ms, entry.event):
                    text = f"change {version}, {entry.event}, was not published so"
                    yield Problem(invariant="published-as-committed", where=_name(partition), text=text)
            if version < len(told) and told[version:] and version:
                text = f"{len(told)} changes were published, {version} are in the log"
                yield Problem(invariant="published-is-durable", where=_name(partition), text=text)

    def _check_order(self, change: Change) -> Iterator[Problem]:
        told = self._versions.setdefault(change.partition, [])
        if change.version != len(told) + 1:
            text = f"change {change.version} is published after change {len(told)}"
            yield Problem(invariant="published-in-order", where=_name(change.partition), text=text)
            told.extend([b""] * (change.version - 1 - len(told)))
        if change.at_ms < self._newest_ms:
            text = f"change {change.version} is {self._newest_ms - change.at_ms} ms before an earlier one"
            yield Problem(invariant="time-goes-on", where=_name(change.partition), text=text)
        self._newest_ms = max(self._newest_ms, change.at_ms)
        told.append(_digest(change.at_ms, change.event))

    def _follow(self, event_id: EventId, change: Change, credit_ms: int | None) -> Iterator[Problem]:
        judge, at_ms = self._judge_of(event_id), change.at_ms
        match change.event:
            case EventDeleted():
                self._events.pop(event_id, None)
            case TimeCredited(credit_ms=credited_ms):
                judge.room.credit(credited_ms)
            case LobbyDrawn():
                order = self._read_draw(event_id)
                yield from () if order is None else judge.room.draw(order)
            case EntryMoved() as event:
                yield from judge.room.move(at_ms, event)
            case SeatsMoved() as event:
                yield from judge.seats.move(at_ms, event)
            case HoldMoved() as event:
                yield from judge.seats.move_hold(event, credit_ms)
            case OrderMoved() as event:
                yield from judge.orders.order(event)
            case TicketsIssued() as event:
                yield from judge.orders.issue(event, judge.seats.sold_to(event.order_id))
            case TransferMoved() as event:
                yield from judge.orders.transfer(event)
            case _:
                pass

    def _judge_of(self, event_id: EventId) -> _EventJudge:
        judge = self._events.get(event_id)
        if judge is None:
            judge = self._events[event_id] = _EventJudge(event_id)
            judge.learn(self._read_sale(event_id))
        return judge


def judge_log(reader: Reader) -> Iterator[Problem]:
    """All that the change logs of a store tell. They must go back to the beginning; the settings that stand now are
    taken to have stood always, so this is not for a store whose operator has changed any."""

    def read_sale(event_id: EventId) -> SaleRecord | None:
        return SALE.get(reader, event_partition(event_id))

    for partition in partitions(reader):
        if event_of(partition) is None:
            continue
        judge = ChangeJudge(read_sale)
        changes: Iterable[Change] = (
            Change(partition, entry.version, entry.at_ms, entry.event)
            for entry in log_entries(reader, partition)
        )
        # A log does not tell where a commit ends; what was made in one has one time.
        for _, together in groupby(changes, key=lambda change: change.at_ms):
            yield from judge.take(list(together))


def _digest(at_ms: int, event: object) -> bytes:
    return sha256(at_ms.to_bytes(8, "big") + EVENT_CODEC.encode(event)).digest()[:8]


def _name(partition: Partition) -> str:
    event_id = event_of(partition)
    return f"partition {partition.hex()}" if event_id is None else f"event {event_id}"
