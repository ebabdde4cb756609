"""Time that nobody lived is credited: downtime at the start, steps of the machine's clock as they come.

Both are one commit, in which everything that ends for a buyer is put off by as much as the time jumps. So there is no
half of a credit to be finished after a crash, and no decision stands between the credit and the jump. When the daemon
lived last is told by its newest commit; while something runs that would have to be credited, and nothing else is
committed, a beat of the heart is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
import trio

from storage.clock import STEP_MS, SteadyClock
from storage.engine import Change, Command, Engine, EngineOverloaded, StorageFull, Transaction
from storage.schema.events import EntryMoved, HoldMoved, SeatsMoved, TimeCredited
from storage.schema.ids import EventId
from storage.schema.layout import HEARTBEAT, SYSTEM, event_partition, list_events
from storage.schema.records import HeartbeatRecord
from ticketd.domain.time_credit import CreditTime, awaits_time, credit_downtime, credit_events
from ticketd.metrics import Reading
from ticketd.tasks.alarm import Alarm

BEAT_MS: Final = 5_000
"""How old the newest commit gets at most while something runs: by as much too much may be credited after a crash."""

LOOK_SECONDS: Final = 1.0
"""How often the machine's clock is compared. Nothing tells of its being set, so there is nothing else to wait for."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def credit_time_down(engine: Engine, *, begins: bool = True) -> CreditTime | None:
    """Credits the time for which no daemon ran, before anything else is committed; what was credited, None if nothing.

    ``begins`` is False for a command that works on the store of a stopped daemon. A credit that does not even fit into
    the space that is kept back is given up, and the log says so: a store that full is better served than not.
    """
    lived_until_ms = engine.newest_commit_ms()
    if not lived_until_ms:
        return None
    events = _all_events(engine)

    def run(tx: Transaction) -> CreditTime | None:
        return credit_downtime(tx, events, lived_until_ms, begins=begins)

    partitions = (SYSTEM, *map(event_partition, events))
    try:
        committed = await engine.submit(Command("credit_downtime", partitions, run, may_use_reserve=True))
    except StorageFull as problem:
        _log.error("downtime not credited", problem=str(problem))
        return None
    credit = committed.result
    if credit is not None:
        _log.warning(
            "downtime credited", down_seconds=credit.lost_ms / 1000, credit_seconds=credit.credit_ms / 1000
        )
    return credit


_BEGINS: Final = (EntryMoved, SeatsMoved, HoldMoved, TimeCredited)
"""After these something may run that has to be credited. A tuple: a union of types is many times as slow to ask."""


class Timekeeper:
    """Keeps the time of a running daemon; see the file's head."""

    def __init__(self, engine: Engine, clock: SteadyClock) -> None:
        self._engine = engine
        self._clock = clock
        self._steps = 0
        self._credited_ms = 0
        self._told_ahead_ms = 0
        self._candidates: set[EventId] = set()
        """Events of which something may run: all that are not among them have nothing that runs."""
        self._alarm = Alarm(clock)

    def readings(self) -> dict[str, Reading]:
        """What the metrics tell of the time."""
        return {
            "ticketd_clock_ahead_seconds": Reading(
                "How far the daemon's time is ahead of the machine's clock.", self._clock.ahead_ms() / 1000
            ),
            "ticketd_clock_steps": Reading("Steps forwards of the machine's clock.", self._steps),
            "ticketd_clock_credited_seconds": Reading(
                "Seconds that were credited since the machine's clock had skipped them.",
                self._credited_ms / 1000,
            ),
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until it is cancelled. A full or overloaded store makes it try again; any other error ends it."""
        unsubscribe = self._engine.subscribe(self._notice)
        try:
            self._candidates.update(_all_events(self._engine))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_clock)
                nursery.start_soon(self._beat)
                task_status.started()
        finally:
            unsubscribe()

    async def _watch_clock(self) -> None:
        while True:
            ahead_ms = self._clock.ahead_ms()
            if ahead_ms <= -STEP_MS:
                await self._step(-ahead_ms)
            else:
                self._tell_of_lead(ahead_ms)
            await trio.sleep(LOOK_SECONDS)

    async def _step(self, step_ms: int) -> None:
        """Credits all of a step of the machine's clock, then lets the time make it too."""
        events = _all_events(self._engine)
        now_ms = self._clock.now_ms()

        def run(tx: Transaction) -> bool:
            return credit_events(
                tx, events, CreditTime(lived_until_ms=tx.now_ms, lost_ms=step_ms, credit_ms=step_ms)
            )

        command = Command(
            "credit_step",
            tuple(map(event_partition, events)),
            run,
            may_use_reserve=True,
            moves_time_to_ms=now_ms + step_ms,
        )
        try:
            await self._engine.submit(command)
        except (EngineOverloaded, StorageFull) as problem:
            _log.warning("clock step put off", step_seconds=step_ms / 1000, problem=str(problem))
            return
        self._clock.step(step_ms)
        self._steps += 1
        self._credited_ms += step_ms
        _log.warning("the machine's clock was set forwards, or it was suspended", step_seconds=step_ms / 1000)

    def _tell_of_lead(self, ahead_ms: int) -> None:
        """Tells of the machine's clock being set back, once, and of its having caught up."""
        if ahead_ms >= self._told_ahead_ms + STEP_MS:
            _log.warning("the machine's clock was set back", ahead_seconds=ahead_ms / 1000)
            self._told_ahead_ms = ahead_ms
        elif self._told_ahead_ms and ahead_ms <= 0:
            _log.info("the machine's clock has caught up")
            self._told_ahead_ms = 0
        elif self._told_ahead_ms:
            self._told_ahead_ms = min(self._told_ahead_ms, ahead_ms)

    def _notice(self, changes: Sequence[Change]) -> None:
        """The subscriber: notes the events in which something has begun to run."""
        for change in changes:
            event = change.event
            if isinstance(event, _BEGINS):
                self._candidates.add(event.event_id)
        if self._candidates:
            self._alarm.ring()

    async def _beat(self) -> None:
        """While something runs, sees to it that the newest commit is never older than a beat."""
        while True:
            self._alarm.reset()
            if not self._something_runs():
                await self._alarm.wait_until_ms(None)
                continue
            beat_at_ms = self._engine.newest_commit_ms() + BEAT_MS
            if beat_at_ms > self._clock.now_ms():
                await self._clock.wait_until_ms(beat_at_ms)
                continue
            try:
                await self._engine.submit(Command("beat", (SYSTEM,), _put_beat, may_use_reserve=True))
            except (EngineOverloaded, StorageFull) as problem:
                _log.warning("heartbeat put off", problem=str(problem))
                await trio.sleep(LOOK_SECONDS)

    def _something_runs(self) -> bool:
        """Drops the candidates of which nothing runs, up to the first of which something does."""
        while self._candidates:
            event_id = next(iter(self._candidates))
            with self._engine.snapshot(event_partition(event_id)) as view:
                if awaits_time(view, event_id, view.now_ms):
                    return True
            self._candidates.discard(event_id)
        return False


def _put_beat(tx: Transaction) -> None:
    HEARTBEAT.put(tx, HeartbeatRecord(at_ms=tx.now_ms), SYSTEM)


def _all_events(engine: Engine) -> list[EventId]:
    with engine.snapshot(SYSTEM) as view:
        return list_events(view)
