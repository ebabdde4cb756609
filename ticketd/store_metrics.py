"""What the store tells of itself, as metrics."""

from __future__ import annotations

from storage.writer import WritingEngine
from ticketd.metrics import Reading


def read_store(engine: WritingEngine) -> dict[str, Reading]:
    """The writer's counts and the store's size, at the moment of asking."""
    counters = engine.counters
    return {
        "ticketd_store_commits": Reading("Durable commits, each of one or more commands.", counters.batches),
        "ticketd_store_commit_seconds_sum": Reading(
            "Seconds spent in durable commits.", counters.commit_seconds_sum
        ),
        "ticketd_store_commands_committed": Reading("Commands that were committed.", counters.committed),
        "ticketd_store_commands_rejected": Reading("Commands that a rule refused.", counters.rejected),
        "ticketd_store_commands_failed": Reading("Commands that failed by a fault of ours.", counters.failed),
        "ticketd_store_commands_waiting": Reading(
            "Commands that wait to be durable now.", engine.queue_length()
        ),
        "ticketd_store_used_bytes": Reading("Space that the data takes up.", engine.used_bytes()),
        "ticketd_store_map_bytes": Reading("Space that is reserved for the data.", engine.map_bytes()),
    }
