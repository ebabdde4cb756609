"""The maps that are kept of one event: how old each may be, and which of them a crowd asks for.

True here: a map that may be given shows every change that is ``oldest_ms`` old or older. Where the maps come from, and
who makes them anew, is ``ticketd.views.seat_maps``'s.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from storage.schema.ids import SectionId
from ticketd.views.event_seats import EventSeats, Moment
from ticketd.views.seat_map_text import Coding, SeatMapText

OLDEST_MS: Final = 250
"""No map is older than this."""
SEATS_FOR_ONE_MS: Final = 80
"""A map of so many seats is made anew at most every millisecond; twice as large, every two: it takes about as long."""
MIN_SEATS_AHEAD: Final = 4000
"""Maps of an event with fewer seats take a millisecond or two, and are always made by the request that needs them."""
CROWD_ASKS: Final = 4
CROWD_MS: Final = 2000
"""A map is a crowd's if it was asked for ``CROWD_ASKS`` times within ``CROWD_MS``: such maps are made ahead."""

MapKey = tuple[SectionId | None, Coding | None]
"""Which map of an event: of which section (None: of all), in which coding."""


class KeptMap:
    """A map that was made, out of what, and when; and when it was last asked for."""

    __slots__ = ("asked_ms", "at_ms", "moment", "text")

    def __init__(self, text: SeatMapText, moment: Moment, at_ms: int) -> None:
        self.text = text
        self.moment = moment
        self.at_ms = at_ms
        self.asked_ms: deque[int] = deque(maxlen=CROWD_ASKS)

    def is_crowds(self, now_ms: int) -> bool:
        """Whether a crowd asks for it now."""
        return len(self.asked_ms) == CROWD_ASKS and 0 <= now_ms - self.asked_ms[0] < CROWD_MS


class KeptMaps:
    """The seats of one event, and the maps made of them by section and coding.

    ``unreachable``: it is known that the change log does not tell what followed this version, or any before it.
    ``crowd_ms``: when a map that is a crowd's was last asked for; None if none ever was.
    """

    __slots__ = ("_settled", "_young", "crowd_ms", "made_bytes", "maps", "oldest_ms", "seats", "unreachable")

    def __init__(self, seats: EventSeats) -> None:
        self.seats = seats
        self.maps: dict[MapKey, KeptMap] = {}
        self.made_bytes = 0
        self.unreachable = -1
        self.oldest_ms = min(OLDEST_MS, seats.seat_count // SEATS_FOR_ONE_MS)
        self.crowd_ms: int | None = None
        self._young: deque[Moment] = deque()
        self._settled = 0

    @property
    def size_bytes(self) -> int:
        return self.seats.size_bytes + self.made_bytes

    @property
    def may_be_made_ahead(self) -> bool:
        """Whether its maps are so large that no request should make them."""
        return self.seats.seat_count >= MIN_SEATS_AHEAD

    def has_crowd(self, now_ms: int) -> bool:
        """Whether a crowd has asked for a map of it lately."""
        return self.crowd_ms is not None and 0 <= now_ms - self.crowd_ms < CROWD_MS

    def note_asked(self, kept: KeptMap, now_ms: int) -> None:
        """Notes that a map was asked for."""
        kept.asked_ms.append(now_ms)
        if kept.is_crowds(now_ms):
            self.crowd_ms = now_ms

    def note_change(self, moment: Moment) -> None:
        """Notes when seats changed. Only changes younger than ``oldest_ms`` are kept in mind."""
        self._young.append(moment)
        self._settle(moment.at_ms)

    def is_young(self, kept: KeptMap, now_ms: int) -> bool:
        """Whether the map was made less than ``oldest_ms`` ago."""
        return 0 <= now_ms - kept.at_ms < self.oldest_ms

    def shows_what_is_old(self, kept: KeptMap, now_ms: int) -> bool:
        """Whether the map shows every change that is ``oldest_ms`` old, or older: what it says was true until then."""
        self._settle(now_ms)
        return kept.moment.version >= self._settled

    def put(self, key: MapKey, text: SeatMapText, moment: Moment, at_ms: int) -> None:
        """Keeps a map in place of the one before, unless that one is of a later version."""
        kept = self.maps.get(key)
        if kept is None:
            self.maps[key] = KeptMap(text, moment, at_ms)
            self.made_bytes += len(text.body)
        elif kept.moment <= moment:
            self.made_bytes += len(text.body) - len(kept.text.body)
            kept.text, kept.moment, kept.at_ms = text, moment, at_ms

    def _settle(self, now_ms: int) -> None:
        young = self._young
        # A change of a later time than now is of before a step of the clock: nothing is kept old for that.
        while young and not 0 <= now_ms - young[0].at_ms < self.oldest_ms:
            self._settled = max(self._settled, young.popleft().version)
