"""Whether what buyers were told of the ends of their holds and windows was credited with the time that nobody lived."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from tests.ladder.sale.recording import Operation

_ROUNDING_SECONDS = 1
_HEARTBEAT_SECONDS = 6
"""When a daemon lived last is known to the newest commit, and at the latest to its heartbeat."""


def check_credit(operations: Iterable[Operation], lives: Sequence[float], down_seconds: int) -> Iterator[str]:
    """``lives`` are the monotonic times at which the daemon was started; between two, the machine's clock went on by
    ``down_seconds``. An end that was told in one life and again in a later one has moved by that for each life between,
    and by no more than what passed beside."""
    told: dict[str, tuple[int, Operation, datetime]] = {}
    for operation in operations:
        found = _end_of(operation)
        if found is None or operation.completed is None:
            continue
        name, end = found
        life = bisect_right(lives, operation.invoked)
        before = told.get(name)
        told[name] = (life, operation, end)
        if before is None:
            continue
        moved = (end - before[2]).total_seconds()
        least = (life - before[0]) * down_seconds
        most = float(least)
        if life != before[0]:
            most += operation.completed - before[1].invoked + _HEARTBEAT_SECONDS
        if not least - _ROUNDING_SECONDS <= moved <= most + _ROUNDING_SECONDS:
            yield (
                f"the end of {name} moved by {moved:.0f} s, not by {least:.0f} to {most:.0f} s: "
                f"{before[1].told()} and then {operation.told()}"
            )


def _end_of(operation: Operation) -> tuple[str, datetime] | None:
    """What was told to end, and when. An answer that is repeated tells what was so at its first time."""
    if operation.status not in {200, 201} or operation.replayed:
        return None
    told = operation.json
    if operation.kind in {"reserve", "reserve_best", "look_at_hold"}:
        return f"hold {told['reservation_id']}", datetime.fromisoformat(told["expires_at"])
    if operation.kind == "status" and told["status"] == "READY":
        return f"window {told['access_token'][-20:]}", datetime.fromisoformat(told["expires_at"])
    return None
