"""The play: the crowd comes, its progress is shown, and it ends when all are through, when told to, or by a bound."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from ticketd.rehearsal.answers import EventInfo
from ticketd.rehearsal.calls import Api, Call, Refused
from ticketd.rehearsal.client import HttpClient
from ticketd.rehearsal.crowd import Person
from ticketd.rehearsal.measurements import Measurements
from ticketd.rehearsal.stage import Stage
from ticketd.rehearsal.visit import Sale, visit

LATENESS_SECONDS: Final = 0.1
"""How often the rehearsal looks how late it is itself."""
_WATCH_SECONDS: Final = 2.0
_NO_SALE: Final = frozenset({"ENDED", "CANCELLED", "SOLD_OUT", "UPCOMING"})

Show = Callable[[Measurements, int], None]
"""Shows how far the play is: what was measured so far, and how many buyers are through."""


class NotPlayable(Exception):
    """The stage does not fit: the text says why, for the operator."""


class Bounds(Struct, frozen=True, kw_only=True):
    """What a play may take at most."""

    connections: int
    timeout_seconds: float
    time_limit_seconds: float
    max_requests: int


class Played(Struct, frozen=True, kw_only=True):
    """What came of a play. ``ended_by`` is empty if all buyers got through, else what ended it. ``busy_seconds`` is the
    processor time of a scratch daemon meanwhile."""

    notes: Measurements
    before: EventInfo
    after: EventInfo | None
    seconds: float
    ended_by: str
    interrupted: bool
    busy_seconds: float | None


async def play(stage: Stage, crowd: Sequence[Person], bounds: Bounds, seed: int, show: Show) -> Played:
    """Plays the crowd. Raises NotPlayable if the daemon does not answer, or the event is not on sale."""
    client = HttpClient(
        stage.origin, max_connections=bounds.connections, timeout_seconds=bounds.timeout_seconds
    )
    try:
        return await _Play(stage, bounds, client, seed).run(crowd, show)
    finally:
        await client.aclose()


class _Play:
    """One play while it runs."""

    def __init__(self, stage: Stage, bounds: Bounds, client: HttpClient, seed: int) -> None:
        self._stage = stage
        self._bounds = bounds
        self._notes = Measurements(trio.current_time)
        self._scope = trio.CancelScope()
        self._ended_by = ""
        self._interrupted = False
        self._through = 0
        self._sale = Sale(event_id=stage.event_id, sold_out=trio.Event(), seed=seed)

        def run_out() -> None:
            self._end(f"the bound of {bounds.max_requests} requests")

        self._api = Api(client, stage.api_key, self._notes, bounds.max_requests, run_out)

    async def run(self, crowd: Sequence[Person], show: Show) -> Played:
        before = await self._look_before()
        busy_before = self._busy_seconds()
        began = trio.current_time()
        async with trio.open_nursery() as around:
            await around.start(self._hear_signals)
            around.start_soon(self._measure_lateness)
            around.start_soon(self._watch_sale)
            around.start_soon(self._show, show)
            with trio.move_on_after(self._bounds.time_limit_seconds) as limit, self._scope:
                async with trio.open_nursery() as visits:
                    for person in crowd:
                        visits.start_soon(self._visit, person)
            if limit.cancelled_caught:
                self._ended_by = f"the time limit of {self._bounds.time_limit_seconds:g} s"
            around.cancel_scope.cancel()
        seconds = trio.current_time() - began
        busy_after = self._busy_seconds()
        show(self._notes, self._through)
        return Played(
            notes=self._notes,
            before=before,
            after=await self._look_after(),
            seconds=seconds,
            ended_by=self._ended_by,
            interrupted=self._interrupted,
            busy_seconds=None if busy_before is None or busy_after is None else busy_after - busy_before,
        )

    def _end(self, why: str) -> None:
        self._ended_by = self._ended_by or why
        self._scope.cancel()

    async def _visit(self, person: Person) -> None:
        await visit(person, self._api, self._sale)
        self._through += 1

    async def _look_before(self) -> EventInfo:
        try:
            event = await self._api.ask(self._event_call(), EventInfo)
        except Refused as refusal:
            told = refusal.code if refusal.status == 0 else f"{refusal.status} {refusal.code}"
            raise NotPlayable(f"the event cannot be looked at: {told}") from None
        if event.sale_info.status in _NO_SALE:
            raise NotPlayable(f"the event {event.event_id} is {event.sale_info.status}: nobody can join now")
        return event

    async def _look_after(self) -> EventInfo | None:
        with trio.move_on_after(self._bounds.timeout_seconds):
            try:
                return await self._api.ask(self._event_call(), EventInfo)
            except Refused:
                return None
        return None

    async def _watch_sale(self) -> None:
        """Tells those who wait when all is sold, as a page that shows the event would."""
        while True:
            await trio.sleep(_WATCH_SECONDS)
            try:
                event = await self._api.ask(self._event_call(), EventInfo)
            except Refused:
                continue
            if event.sale_info.status in {"SOLD_OUT", "ENDED", "CANCELLED"}:
                self._sale.sold_out.set()
                return

    async def _measure_lateness(self) -> None:
        while True:
            due = trio.current_time() + LATENESS_SECONDS
            await trio.sleep_until(due)
            self._notes.late_s.append(trio.current_time() - due)

    async def _show(self, show: Show) -> None:
        while True:
            show(self._notes, self._through)
            await trio.sleep(1)

    async def _hear_signals(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self._interrupted = True
                self._end(f"a signal ({signal.Signals(number).name})")

    def _event_call(self) -> Call:
        target = f"/v1/events/{self._stage.event_id}"
        return Call(method="GET", path="/v1/events/{event_id}", target=target)

    def _busy_seconds(self) -> float | None:
        return None if self._stage.scratch is None else processor_seconds(self._stage.scratch.pid)


def processor_seconds(pid: int) -> float | None:
    """The processor time that a process and its threads have used; None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None
    # The second field is the name in brackets, which may hold spaces; the 14th and 15th are the times.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
