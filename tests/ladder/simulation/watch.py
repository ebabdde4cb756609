"""Who watches a simulated daemon: every commit and every answer, and the trace of them all.

The first problem ends the simulation. The trace is a hash over all that was committed and answered, in order: two runs
of one script that differ in anything differ in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256

import trio

from storage.engine import Change, Engine, Reader
from storage.partitions import partitions
from storage.schema.events import EVENT_CODEC
from storage.schema.ids import EntryId, EventId
from storage.schema.layout import DRAW, LOBBY, SALE, event_partition
from storage.schema.records import SaleRecord
from storage.verify import Problem, verify_event, verify_store
from storage.verify.change_log import log_entries
from tests.ladder.invariants import Answered, AnswerJudge, ChangeJudge
from tests.support.hand_draw import hand_draw

SLACK_MS = 1_500
"""By how much the end of a hold or a window may be written late while the daemon lives."""

_TELLS_OF_MACHINE = "/v1/operator/stats"
"""How long commits really took is no part of what is simulated."""


class Watch:
    """Judges one simulation. ``failed`` is set at the first problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.failed = trio.Event()
        self.figures: Counter[str] = Counter()
        self.answers = AnswerJudge()
        self._changes = ChangeJudge(self._read_sale, self._read_draw)
        self._told: Counter[bytes] = Counter()
        self._trace = sha256()
        self._engine: Engine | None = None

    @property
    def trace(self) -> str:
        """The hash of all that happened."""
        return self._trace.hexdigest()

    def follow(self, engine: Engine) -> None:
        """A daemon begins to live over this engine. What an earlier one made durable and could not tell of any more is
        caught up with first."""
        self._engine = engine
        missed: list[Change] = []
        with engine.snapshot() as view:
            for partition in partitions(view):
                missed += [
                    Change(partition, entry.version, entry.at_ms, entry.event)
                    for entry in log_entries(view, partition)
                    if entry.version > self._told[partition]
                ]
        missed.sort(key=lambda change: change.at_ms)
        if missed:
            self._see(missed)
        engine.subscribe(self._see)

    def lose(self) -> None:
        """The daemon is dead."""
        self._engine = None

    def answer(self, who: str, answered: Answered) -> None:
        """An answer came."""
        self.figures["answers"] += 1
        self.figures[f"{answered.status}"] += 1
        for text in (who, answered.method, answered.path, str(answered.status)):
            self._trace.update(text.encode())
        if answered.path != _TELLS_OF_MACHINE:
            self._trace.update(answered.body)
        self.report(self.answers.take(answered))

    def check_position(self, event_id: EventId, entry_id: EntryId, told: int) -> None:
        """Somebody who waits was just told of a place."""
        wanted = self._changes.position(event_id, entry_id)
        if wanted not in {None, told}:
            text = f"{entry_id} is told of place {told}, and stands at {wanted}"
            self.report([Problem(invariant="position-is-exact", where=f"event {event_id}", text=text)])

    def note(self, text: str) -> None:
        """Something else that happened."""
        self._trace.update(text.encode())

    def look(self, now_ms: int) -> None:
        """Everything is quiet: nothing may be overdue."""
        self.report(self._changes.overdue(now_ms, SLACK_MS))

    def verify(self, reader: Reader, event_id: EventId | None = None) -> None:
        """The whole store, or one event, is as it should be."""
        self.figures["verified"] += 1
        self.report(verify_store(reader) if event_id is None else verify_event(reader, event_id))

    def check_all(self, reader: Reader) -> None:
        """All that can be said of a whole store: also that it keeps what was acknowledged, and tells what was told."""
        self.verify(reader)
        self.report(self.answers.check_kept(reader))
        self.report(self._changes.check_published(reader))

    def report(self, problems: Iterable[Problem]) -> None:
        """Problems were found, if any."""
        for problem in problems:
            self.problems.append(problem)
            self.failed.set()

    def _see(self, changes: Sequence[Change]) -> None:
        self.figures["commits"] += 1
        for change in changes:
            self.figures["changes"] += 1
            self.figures[type(change.event).__name__] += 1
            self._told[change.partition] = change.version
            self._trace.update(change.partition + change.at_ms.to_bytes(8, "big"))
            self._trace.update(EVENT_CODEC.encode(change.event))
        self.report(self._changes.take(changes))

    def _read_sale(self, event_id: EventId) -> SaleRecord | None:
        if self._engine is None:
            return None
        with self._engine.snapshot() as view:
            return SALE.get(view, event_partition(event_id))

    def _read_draw(self, event_id: EventId) -> list[EntryId] | None:
        if self._engine is None:
            return None
        partition = event_partition(event_id)
        with self._engine.snapshot() as view:
            draw = DRAW.get(view, partition)
            listed = [entry_id for _, entry_id in LOBBY.scan(view, partition)]
        return None if draw is None else [EntryId(entry) for entry in hand_draw(draw.seed, listed)]
