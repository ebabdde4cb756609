from __future__ import annotations

import sqlite3
import unicodedata
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schema.ids import EventId
from ticketd.views.search import Findable, SearchIndex, SearchQuery, fold, words_of

DAY_MS = 86_400_000
TEXTS = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("aéßİıłøŁÆ AB'\"*-^():")), max_size=40
)


def event(number: int, **changes: object) -> Findable:
    fields: dict[str, object] = {
        "event_id": EventId(UUID(int=number)),
        "date_ms": number * DAY_MS,
        "name": "",
        "artist": "",
        "venue": "",
        "city": "",
        "category": "",
    }
    return Findable(**{**fields, **changes})  # type: ignore[arg-type]  # the tests name real fields


def index_of(*events: Findable) -> SearchIndex:
    index = SearchIndex()
    for one in events:
        index.put(one)
    return index


def found(index: SearchIndex, **query: object) -> list[int]:
    event_ids, total = index.find(SearchQuery(**{"limit": 100, **query}))  # type: ignore[arg-type]  # the same
    assert total == len(event_ids)
    return [event_id.int for event_id in event_ids]


ERAS = event(
    1,
    name="The Eras Tour",
    artist="Taylor Swift",
    venue="Madison Square Garden",
    city="New York",
    category="Concert",
)
LODZ = event(2, name="Noc Jazzu", artist="Motörhead", venue="Teatr Wielki", city="Łódź", category="Jazz")
FIGHT = event(3, name="AC/DC: Live!", artist="AC/DC", venue="Arena", city="San José", category="Concert")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("taylor swift", [1]),
        ("SWIFT tay", [1]),
        ("swif", [1]),
        ("wift", []),
        ("garden york", [1]),
        ("concert", [1, 3]),
        ("lodz", [2]),
        ("ŁÓDŹ", [2]),
        ("motorhead", [2]),
        ("mötorhead jazz", [2]),
        ("ac/dc", [3]),
        ("ac dc", [3]),
        ("san jose", [3]),
        ("taylor jazz", []),
        ("live!", [3]),
        ("", [1, 2, 3]),
        ("  !! -- ", [1, 2, 3]),
        ("OR", []),
        ("NOT taylor", []),
        ("taylor OR jazz", []),
        ('"taylor', [1]),
        ("tay*", [1]),
        ("*", [1, 2, 3]),
        ("text:taylor", []),
        ("NEAR(taylor swift)", []),
        ("{text} : swift", []),
        ("^taylor", [1]),
        ("tay + lor", []),
        ("'; DROP TABLE events; --", []),
    ],
)
def test_words_and_their_beginnings(query: str, numbers: list[int]) -> None:
    assert found(index_of(ERAS, LODZ, FIGHT), query=query) == numbers


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"city": "new york"}, [1]),
        ({"city": "NEW  YORK"}, [1]),
        ({"city": "new"}, []),
        ({"city": "lodz"}, [2]),
        ({"artist": "taylor swift"}, [1]),
        ({"artist": "taylor"}, []),
        ({"artist": "ac dc"}, [3]),
        ({"category": "CONCERT"}, [1, 3]),
        ({"category": "concert", "city": "San Jose"}, [3]),
        ({"category": "concert", "query": "jazz"}, []),
        ({"city": ""}, [1, 2, 3]),
    ],
)
def test_a_filter_wants_the_whole_value(asked: dict[str, str], numbers: list[int]) -> None:
    assert found(index_of(ERAS, LODZ, FIGHT), **asked) == numbers


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "numbers"),
    [
        (DAY_MS, 3 * DAY_MS, [1, 2, 3]),
        (DAY_MS + 1, 3 * DAY_MS - 1, [2]),
        (2 * DAY_MS, 2 * DAY_MS, [2]),
        (3 * DAY_MS, DAY_MS, []),
        (0, 2**63 - 1, [1, 2, 3]),
    ],
)
def test_both_dates_are_included(from_ms: int, to_ms: int, numbers: list[int]) -> None:
    index = index_of(ERAS, LODZ, FIGHT)
    assert found(index, date_from_ms=from_ms, date_to_ms=to_ms) == numbers


def test_pages_are_by_date_and_tell_how_many_there_are() -> None:
    index = index_of(*(event(number, name="Show") for number in (3, 1, 5, 2, 4)))
    assert [
        [event_id.int for event_id in index.find(SearchQuery(query="show", limit=2, offset=offset))[0]]
        for offset in (0, 2, 4, 6)
    ] == [[1, 2], [3, 4], [5], []]
    assert {index.find(SearchQuery(query="show", limit=2, offset=offset))[1] for offset in (0, 4, 99)} == {5}


def test_an_event_put_again_is_found_by_its_new_words_alone() -> None:
    index = index_of(ERAS)
    index.put(event(1, name="The Other Tour"))
    assert found(index, query="eras") == []
    assert found(index, city="new york") == []
    assert found(index, query="other") == [1]
    index.remove(EventId(UUID(int=1)))
    index.remove(EventId(UUID(int=1)))
    assert found(index) == []


def test_many_words_are_one_query() -> None:
    words = [f"word{number}" for number in range(500)]
    index = index_of(event(1, name=" ".join(words)))
    assert found(index, query=" ".join(words)) == [1]
    assert found(index, query=" ".join([*words, "missing"])) == []


def test_the_database_is_closed_with_the_index() -> None:
    index = index_of(ERAS)
    database = index._database
    del index
    with pytest.raises(sqlite3.ProgrammingError):
        database.execute("SELECT 1")


@given(TEXTS)
def test_folding_is_stable_and_knows_no_case(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
    assert all(word and word.isalnum() for word in words)


@pytest.mark.parametrize("text", ["Straße", "ÉLAN", "Ærøskøbing", "ŁÓDŹ", "ΣΊΣΥΦΟΣ", "ﬁn", "Dvořák"])
def test_capitals_and_small_letters_are_the_same(text: str) -> None:
    assert fold(text.upper()) == fold(text.lower()) == fold(text)


@given(TEXTS, TEXTS, st.data())
def test_every_event_is_found_by_beginnings_of_its_words(name: str, venue: str, data: st.DataObject) -> None:
    index = index_of(event(1, name=name, venue=venue))
    words = words_of(name) + words_of(venue)
    if words:
        chosen = data.draw(st.lists(st.sampled_from(words), min_size=1, max_size=4))
        beginnings = [word[: data.draw(st.integers(1, len(word)))] for word in chosen]
        assert found(index, query=" ".join(beginnings)) == [1]


@given(TEXTS, TEXTS)
def test_whatever_is_asked_matches_as_plain_code_would(name: str, query: str) -> None:
    index = index_of(event(1, name=name))
    words = words_of(name)
    expected = all(any(word.startswith(begun) for word in words) for begun in words_of(query))
    assert found(index, query=query) == ([1] if expected else [])
