"""The short form of the rung of histories, and that its judge sees what it is there to see."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from storage.engine import Change
from storage.schema.events import EntryMoved
from storage.schema.ids import EntryId, UserId
from storage.schema.layout import event_partition
from storage.schema.states import EntryState
from tests.ladder.history import FEWEST_OF_A_KIND, FEWEST_OPERATIONS, KINDS, RUNG, too_few
from tests.ladder.history.check import History, check_real_time, check_repetitions, differences
from tests.ladder.history.model import Sale, Seat
from tests.ladder.rung import Budget
from tests.ladder.sale.recording import EVENT, Number, Operation, read_versions
from tests.ladder.sale.stage import EVENT_ID, Hall

SEED = 1
BUYERS = [str(UUID(int=number)) for number in range(1, 4)]
ENTRIES = [str(UUID(int=number)) for number in range(101, 104)]


def test_every_answer_of_a_sale_is_that_of_one_order_of_commits(tmp_path: Path) -> None:
    verdict = RUNG.climb(Budget(seconds=5, seed=SEED, folder=tmp_path))
    assert verdict.findings == ()
    assert verdict.void is None


def asked(number: int, kind: str, told: Any = None, **more: Any) -> Operation:
    """A call that began at ``number`` and was answered half a second later, unless ``more`` says otherwise."""
    fields: dict[str, Any] = {
        "buyer": BUYERS[0],
        "method": "POST",
        "target": "/",
        "body": None,
        "key": None,
        "status": 200,
        "completed": number + 0.5,
        "answer": json.dumps(told or {}).encode(),
    }
    return Operation(number=number, kind=kind, invoked=float(number), **{**fields, **more})


def at(version: int, *, new: bool = False) -> dict[str, Number]:
    return {EVENT: Number(version, new)}


def joined(buyer: int, version: int, position: int, **more: Any) -> Operation:
    told = {
        "entry_id": ENTRIES[buyer],
        "status": "QUEUED" if position else "READY",
        "queue_position": position,
        "queue_size": position,
    }
    return asked(version, "join", told, buyer=BUYERS[buyer], versions=at(version, new=True), **more)


def moved(version: int, buyer: int, before: EntryState | None, after: EntryState) -> Change:
    event = EntryMoved(
        event_id=EVENT_ID,
        entry_id=EntryId(UUID(ENTRIES[buyer])),
        user_id=UserId(UUID(BUYERS[buyer])),
        seq=buyer,
        before=before,
        after=after,
    )
    return Change(event_partition(EVENT_ID), version, 0, event)


CHANGES = [
    moved(1, 0, None, EntryState.READY),
    moved(2, 1, None, EntryState.QUEUED),
    moved(3, 2, None, EntryState.QUEUED),
]


def judged(operations: list[Operation], changes: list[Change] | None = None) -> list[str]:
    sale = Sale(Hall(max_active=1), {"seat": Seat()})
    return list(differences(History(operations, CHANGES if changes is None else changes, sale, 0)))


def test_what_was_answered_as_it_had_to_be_is_passed() -> None:
    status = {"status": "QUEUED", "queue_position": 2, "queue_size": 2}
    polled = asked(9, "status", status, buyer=BUYERS[2], versions=at(3))
    assert judged([joined(0, 1, 0), joined(1, 2, 1), joined(2, 3, 2), polled]) == []


def test_a_position_that_is_not_that_of_its_version_is_found() -> None:
    status = {"status": "QUEUED", "queue_position": 1, "queue_size": 2}
    polled = asked(9, "status", status, buyer=BUYERS[2], versions=at(3))
    found = judged([joined(0, 1, 0), joined(1, 2, 1), joined(2, 3, 2), polled])
    assert [what.partition(": #")[0] for what in found] == ["position: told 1, is 2"]


def test_who_overtakes_is_found() -> None:
    changes = [
        *CHANGES,
        moved(4, 0, EntryState.READY, EntryState.LEFT),
        moved(5, 2, EntryState.QUEUED, EntryState.READY),
    ]
    left = asked(8, "leave", versions=at(4, new=True), status=204)
    (found,) = judged([joined(0, 1, 0), joined(1, 2, 1), joined(2, 3, 2), left], changes)
    assert found == f"change 5: {ENTRIES[2]} is let in before {ENTRIES[1]}"


def test_a_change_that_nobody_was_told_of_is_found_unless_its_call_was_not_answered() -> None:
    lost = joined(2, 3, 2)
    told = [joined(0, 1, 0), joined(1, 2, 1)]
    assert "was told to nobody" in judged(told)[0]
    unanswered = asked(3, "join", buyer=BUYERS[2], key="key", status=None, completed=None, answer=b"")
    assert judged([*told, unanswered]) == []
    # Asked again, the same key tells it; or another answer is in its place.
    repeated = asked(9, "join", lost.json, buyer=BUYERS[2], key="key", replayed=True)
    assert judged([*told, unanswered, repeated]) == []
    refusal = {"error": {"code": "ALREADY_IN_QUEUE", "details": {}}}
    refused = asked(9, "join", refusal, buyer=BUYERS[2], key="key", status=409, versions=at(3))
    assert "was told to nobody" in judged([*told, unanswered, refused])[0]


def test_an_answer_of_a_version_that_never_came_to_be_is_found() -> None:
    found = judged([joined(0, 1, 0), joined(1, 2, 1), joined(2, 3, 2), joined(2, 4, 3)])
    assert "a version that is not in the change log" in found[0]


@pytest.mark.parametrize(
    ("first", "second", "fine"),
    [
        (at(5, new=True), at(5), True),
        (at(5, new=True), at(6, new=True), True),
        (at(5), at(4), False),
        (at(5), at(5, new=True), False),
        (at(5, new=True), at(4, new=True), False),
    ],
)
def test_what_was_answered_before_another_call_began_comes_before_it(
    first: dict[str, Number], second: dict[str, Number], fine: bool
) -> None:
    one, other = asked(1, "status", versions=first), asked(2, "status", versions=second)
    assert (list(check_real_time([one, other])) == []) is fine
    # Of two that were under way at the same time either may come first.
    one.completed = 2.5
    assert (list(check_real_time([one, other])) == []) is (first != second or not first[EVENT].new)


def test_two_that_claim_the_same_change_are_found() -> None:
    operations = [asked(1, "join", versions=at(5, new=True), completed=9.0) for _ in range(2)]
    assert "one change is told as done by" in next(check_real_time(operations))


def test_one_key_has_one_answer() -> None:
    once = asked(1, "pay", {"a": 1}, key="key")
    again = asked(2, "pay", {"a": 1}, key="key", replayed=True)
    other = asked(3, "pay", {"a": 2}, key="key", replayed=True)
    anew = asked(4, "pay", {"a": 1}, key="key")
    assert list(check_repetitions([once, again])) == []
    assert len(list(check_repetitions([once, other]))) == 1
    assert len(list(check_repetitions([once, anew]))) == 1


@pytest.mark.parametrize(("status", "is_kept"), [(428, True), (429, False), (430, True)])
def test_a_refusal_for_now_may_be_given_again_under_one_key(status: int, is_kept: bool) -> None:
    refusal = {"error": {"code": "SOME_CODE"}}
    refused = [asked(number, "pay", refusal, key="key", status=status) for number in (1, 2)]
    assert bool(list(check_repetitions(refused))) == is_kept
    repeated = asked(3, "pay", refusal, key="key", status=status, replayed=True)
    assert bool(list(check_repetitions([refused[0], repeated]))) != is_kept


def test_too_few_answers_prove_nothing() -> None:
    enough = Counter(dict.fromkeys(KINDS, FEWEST_OF_A_KIND)) + Counter(status=FEWEST_OPERATIONS)
    assert too_few(enough) is None
    assert too_few(Counter(status=FEWEST_OPERATIONS)) is not None
    assert too_few(Counter(dict.fromkeys(KINDS, FEWEST_OF_A_KIND))) is not None


def test_versions_are_read_from_the_header() -> None:
    assert read_versions(f"{EVENT}=42;new, system=7") == {EVENT: Number(42, True), "system": Number(7, False)}
    assert read_versions("") == {}
