"""Finding events by words, places and dates: a full-text index in memory, made anew at each start.

True here: what is indexed and what is searched for are folded by the same function, so the index sees only words of
letters and digits, and nothing that a caller sends is read as the syntax of a query. What an event looks like is not
known here.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
import weakref
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from storage.schema.ids import EventId

LAST_MS: Final = 2**63 - 1
"""Later than any time: ``date_to_ms`` of a search without an end."""

_WORD: Final = re.compile(r"[^\W_]+")

# Letters that people type without their stroke, and that Unicode does not take apart.
_PLAIN_LETTERS: Final = str.maketrans(
    {
        "æ": "ae",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ı": "i",
        "ł": "l",
        "ø": "o",
        "œ": "oe",
        "þ": "th",
        "ŧ": "t",
    }
)

_SCHEMA: Final = """
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL UNIQUE,
    date_ms INTEGER NOT NULL,
    city TEXT NOT NULL,
    category TEXT NOT NULL,
    artist TEXT NOT NULL
);
CREATE INDEX events_by_date ON events (date_ms, event_id);
CREATE VIRTUAL TABLE words USING fts5 (text, tokenize = 'ascii');
"""

# The tokenizer splits at ASCII signs alone, and folded words have none: its words are exactly ours.
_COUNT: Final = """
SELECT count(*) FROM events
WHERE (:city = '' OR city = :city)
  AND (:category = '' OR category = :category)
  AND (:artist = '' OR artist = :artist)
  AND date_ms BETWEEN :date_from_ms AND :date_to_ms
  AND (:words = '' OR number IN (SELECT rowid FROM words WHERE words MATCH :words))
"""
_PAGE: Final = """
SELECT event_id FROM events
WHERE (:city = '' OR city = :city)
  AND (:category = '' OR category = :category)
  AND (:artist = '' OR artist = :artist)
  AND date_ms BETWEEN :date_from_ms AND :date_to_ms
  AND (:words = '' OR number IN (SELECT rowid FROM words WHERE words MATCH :words))
ORDER BY date_ms, event_id
LIMIT :limit OFFSET :offset
"""


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for; an empty text asks for nothing.

    Every word of ``query`` must begin a word of the event's name, artist, venue, city or category. ``city``,
    ``category`` and ``artist`` must be the event's own, as a whole. Both dates are included. Case, accents and
    punctuation count nowhere. ``limit`` events are told, from the one at ``offset`` on.
    """

    query: str = ""
    city: str = ""
    category: str = ""
    artist: str = ""
    date_from_ms: int = 0
    date_to_ms: int = LAST_MS
    limit: int = 20
    offset: int = 0


class Findable(msgspec.Struct, frozen=True, kw_only=True):
    """What an event is found by."""

    event_id: EventId
    date_ms: int
    name: str
    artist: str
    venue: str
    city: str
    category: str


def words_of(text: str) -> list[str]:
    """The words of a text, folded: compatible forms made one, small letters, no accents, no strokes, no punctuation."""
    small = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(sign for sign in small if not unicodedata.category(sign).startswith("M"))
    return _WORD.findall(plain.translate(_PLAIN_LETTERS))


def fold(text: str) -> str:
    """The words of a text as one text: what two texts that differ in case, accents and punctuation have in common."""
    return " ".join(words_of(text))


class SearchIndex:
    """The events that can be found. To be used in the thread that made it."""

    def __init__(self) -> None:
        # The collector may close it in any thread; it is only used in the loop's.
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._database.close)
        self._database.executescript(_SCHEMA)

    def put(self, findable: Findable) -> None:
        """Makes an event findable, in the place of what it was found by before."""
        self.remove(findable.event_id)
        number = self._database.execute(
            "INSERT INTO events (event_id, date_ms, city, category, artist) VALUES (?, ?, ?, ?, ?)",
            (
                findable.event_id.bytes,
                findable.date_ms,
                fold(findable.city),
                fold(findable.category),
                fold(findable.artist),
            ),
        ).lastrowid
        texts = (findable.name, findable.artist, findable.venue, findable.city, findable.category)
        self._database.execute(
            "INSERT INTO words (rowid, text) VALUES (?, ?)", (number, " ".join(map(fold, texts)))
        )

    def remove(self, event_id: EventId) -> None:
        """Takes an event out, if it is there."""
        for (number,) in self._database.execute(
            "SELECT number FROM events WHERE event_id = ?", (event_id.bytes,)
        ).fetchall():
            self._database.execute("DELETE FROM words WHERE rowid = ?", (number,))
            self._database.execute("DELETE FROM events WHERE number = ?", (number,))

    def find(self, query: SearchQuery) -> tuple[list[EventId], int]:
        """The events of the page that is asked for, by date, and how many there are over all pages."""
        asked = {
            "words": _match_all(words_of(query.query)),
            "city": fold(query.city),
            "category": fold(query.category),
            "artist": fold(query.artist),
            "date_from_ms": query.date_from_ms,
            "date_to_ms": query.date_to_ms,
            "limit": query.limit,
            "offset": query.offset,
        }
        (total,) = self._database.execute(_COUNT, asked).fetchone()
        rows = self._database.execute(_PAGE, asked).fetchall()
        return [EventId(UUID(bytes=event_id)) for (event_id,) in rows], total


def _match_all(words: Iterable[str]) -> str:
    """Every word, or the beginning of one, in the index's own language. The words are folded, so they hold no quote."""
    return " ".join(f'"{word}"*' for word in dict.fromkeys(words))
