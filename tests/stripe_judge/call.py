"""What an endpoint is given: the store, the time, the parameters, and the means to make ids and tell of events."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, TypeVar

import msgspec

from tests.stripe_judge.behaviour import Behaviour, Delivery, Webhooks
from tests.stripe_judge.form import Params
from tests.stripe_judge.records import Event, Record
from tests.stripe_judge.refusals import Document, missing_in_parameter, missing_in_path
from tests.stripe_judge.shapes import shape
from tests.stripe_judge.store import Store

R = TypeVar("R", bound=Record)
_SIGNS: Final = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """An id as Stripe's look, such as ``pi_3Nx…``."""
    return prefix + "".join(secrets.choice(_SIGNS) for _ in range(length))


@dataclass(frozen=True)
class Call:
    """One request in the judge's hands. ``name`` is the id in its path; ``wall`` the real time in seconds."""

    store: Store
    behaviour: Behaviour
    wall: float
    base_url: str
    params: Params = field(default_factory=lambda: Params({}))
    name: str = ""
    request: str | None = None
    key: str | None = None

    @property
    def now(self) -> int:
        return int(self.wall) + self.behaviour.ahead_seconds

    def show(self, record: Record) -> Document:
        return shape(self.store, self.base_url, record)

    def named(self, kind: type[R], thing: str) -> R:
        """What the path names; else 404."""
        found = self.store.find(kind, self.name)
        if found is None:
            raise missing_in_path(thing, self.name)
        return found

    def meant(self, kind: type[R], thing: str, param: str) -> R | None:
        """What a parameter names, None where it is not given; else 400."""
        name = self.params.text_or_none(param)
        if name is None:
            return None
        found = self.store.find(kind, name)
        if found is None:
            raise missing_in_parameter(thing, name, param)
        return found

    def emit(self, event_type: str, about: Record) -> None:
        """Keeps the event, and puts its deliveries in line as the webhooks are set."""
        hooks = self.store.setting(Webhooks)
        event = Event(
            id=new_id("evt_"),
            created=self.now + hooks.created_skew_seconds,
            type=event_type,
            about=msgspec.Raw(msgspec.json.encode(self.show(about))),
            request=self.request,
            key=self.key,
        )
        self.store.put(event)
        if hooks.url is not None and any(fnmatchcase(event_type, wanted) for wanted in hooks.types):
            self._put_in_line(event, hooks)

    def _put_in_line(self, event: Event, hooks: Webhooks) -> None:
        number = self.store.number_of(Event, event.id)
        assert number is not None
        due, place, times = self.wall, number, 1
        match hooks.delivery:
            case Delivery.NEVER:
                return
            case Delivery.TWICE:
                times = 2
            case Delivery.LATE:
                due += hooks.late_seconds
            case Delivery.REVERSED:
                due, place = self._end_of_window(due + hooks.window_seconds), -number
        for _ in range(times):
            self.store.sql.execute(
                "INSERT INTO deliveries (event, due, place) VALUES (?, ?, ?)", (event.id, due, place)
            )

    def _end_of_window(self, new_end: float) -> float:
        """The end of the window that is open, or of a new one."""
        row = self.store.sql.execute(
            "SELECT max(due) FROM deliveries WHERE NOT done AND place < 0 AND due > ?", (self.wall,)
        ).fetchone()
        return new_end if row[0] is None else float(row[0])
