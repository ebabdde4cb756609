"""Housekeeping: old changes leave the log; outcomes of idempotent requests, and which holds ran out, are forgotten when
their time is over.

Every round walks all partitions, a bounded batch a commit. It changes nothing that anybody can see.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from config.settings import Settings
from storage.change_log import trim_changes
from storage.clock import Clock
from storage.engine import Command, Engine, EngineOverloaded, Partition, StorageFull
from storage.partitions import partitions
from storage.schema.ids import EventId
from storage.schema.layout import DUE_OUTCOMES, event_of, event_partition
from ticketd.domain.hoarding import forget_lapses, lapses_are_due
from ticketd.domain.outcomes import forget_outcomes

ROUND_MS: Final = 900_000
BATCH: Final = 500
PARTITIONS_AT_ONCE: Final = 200

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def run_housekeeping(
    engine: Engine,
    clock: Clock,
    settings: Settings,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A round at the start and one every 15 minutes, for as long as it is not cancelled."""
    task_status.started()
    while True:
        started_ms = clock.now_ms()
        try:
            await tidy_store(engine, started_ms - settings.storage.change_retention_seconds * 1000)
        except (EngineOverloaded, StorageFull) as problem:
            _log.warning("housekeeping put off", problem=str(problem))
        await clock.wait_until_ms(started_ms + ROUND_MS)


async def tidy_store(engine: Engine, keep_changes_from_ms: int) -> None:
    """One round over all partitions: drops changes before ``keep_changes_from_ms``, forgets outcomes and lapses."""
    after: Partition | None = None
    while batch := _next_partitions(engine, after):
        for partition in batch:
            while (await engine.submit(trim_changes(partition, keep_changes_from_ms, BATCH))).result >= BATCH:
                pass
            await _forget_outcomes(engine, partition)
            if (event_id := event_of(partition)) is not None:
                await _forget_lapses(engine, event_id)
        after = batch[-1]


def _next_partitions(engine: Engine, after: Partition | None) -> list[Partition]:
    found: list[Partition] = []
    with engine.snapshot() as view:
        for partition in partitions(view, after=after):
            found.append(partition)
            if len(found) == PARTITIONS_AT_ONCE:
                break
    return found


async def _forget_outcomes(engine: Engine, partition: Partition) -> None:
    with engine.snapshot(partition) as view:
        if next(DUE_OUTCOMES.until(view, partition, view.now_ms, 1), None) is None:
            return
    command = Command("forget_outcomes", (partition,), lambda tx: forget_outcomes(tx, partition, BATCH))
    while (await engine.submit(command)).result >= BATCH:
        pass


async def _forget_lapses(engine: Engine, event_id: EventId) -> None:
    partition = event_partition(event_id)
    with engine.snapshot(partition) as view:
        if not lapses_are_due(view, event_id, view.now_ms):
            return
    command = Command("forget_lapses", (partition,), lambda tx: forget_lapses(tx, event_id, BATCH))
    while (await engine.submit(command)).result >= BATCH:
        pass
