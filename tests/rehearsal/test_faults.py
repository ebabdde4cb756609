"""Planted faults: a daemon that does what must not be, and a report that says so."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from tests.rehearsal.fake_daemon import EVENT, FakeDaemon, Reply, refusal
from ticketd.rehearsal.client import Origin
from ticketd.rehearsal.crowd import CrowdPlan, Shares, make_crowd
from ticketd.rehearsal.fairness import StoreFacts
from ticketd.rehearsal.judgement import StoreCheck
from ticketd.rehearsal.measurements import Measurements
from ticketd.rehearsal.play import Bounds, NotPlayable, Played, play
from ticketd.rehearsal.report import Report, make_report, report_text
from ticketd.rehearsal.stage import Stage

BOUNDS = Bounds(connections=8, timeout_seconds=10, time_limit_seconds=60, max_requests=10_000)
BUYERS = 6
PLAN = CrowdPlan(
    buyers=BUYERS,
    seed=1,
    shares=Shares(leave=0, never_claim=0, let_hold_lapse=0, decline=50, realtime=0),
    arrive_seconds=0,
    think_seconds=0,
)


def show_nothing(_notes: Measurements, _through: int) -> None:
    pass


async def play_on(origin: Origin, plan: CrowdPlan = PLAN, bounds: Bounds = BOUNDS) -> Played:
    stage = Stage(origin=origin, api_key="key", event_id=EVENT)
    return await play(stage, make_crowd(plan), bounds, plan.seed, show_nothing)


async def rehearse(daemon: FakeDaemon, plan: CrowdPlan = PLAN, bounds: Bounds = BOUNDS) -> Report:
    async with daemon.serving() as origin:
        played = await play_on(origin, plan, bounds)
    return make_report(played, None, buyers=plan.buyers, seed=plan.seed)


async def test_a_good_daemon_is_found_good() -> None:
    report = await rehearse(FakeDaemon())
    assert report.ok, report.faults
    assert report.outcomes == {"bought": BUYERS}
    assert report.orders == BUYERS
    assert report.seats_sold >= BUYERS
    counts = {latency.endpoint: latency.count for latency in report.latencies}
    assert counts["POST /v1/queue/join"] == BUYERS
    assert [(error.code, error.count) for error in report.errors] == [("PAYMENT_DECLINED", BUYERS // 2)]
    assert "All is as it must be." in report_text(report)


async def test_a_seat_sold_twice_is_found() -> None:
    report = await rehearse(FakeDaemon(sells_twice=True))
    assert not report.ok
    assert "seat seat-0 was sold 6 times" in report.faults.oversold
    assert "NOT AS IT MUST BE" in report_text(report)


async def test_more_seats_sold_than_there_are_is_found() -> None:
    sold = (await rehearse(FakeDaemon())).seats_sold
    assert (await rehearse(FakeDaemon(capacity=sold))).ok
    report = await rehearse(FakeDaemon(capacity=sold - 1))
    assert report.faults.oversold == [f"{sold} seats were sold of {sold - 1}"]


async def test_a_barcode_on_two_tickets_is_found() -> None:
    report = await rehearse(FakeDaemon(repeats_barcodes=True))
    assert any("barcode same-0 is on 6 tickets" in fault for fault in report.faults.oversold)


@pytest.mark.parametrize(("positions", "grown"), [((3, 3, 2), 0), ((3, 4, 1), 1)])
async def test_a_position_that_grows_is_found(
    autojump_clock: object, positions: tuple[int, ...], grown: int
) -> None:
    report = await rehearse(FakeDaemon(waits=positions))
    assert len(report.faults.overtaken) == grown * BUYERS
    assert report.ok is not bool(grown)
    if grown:
        assert report.faults.overtaken[0].endswith("stood at 3, and then at 4")


FAULTY: Mapping[str, tuple[Reply, str]] = {
    "server_errors": (refusal(500, "INTERNAL_ERROR"), "POST /v1/seats/reserve: 500 INTERNAL_ERROR, 1 times"),
    "unexpected": (refusal(404, "EVENT_NOT_FOUND"), "POST /v1/seats/reserve: 404 EVENT_NOT_FOUND, 1 times"),
}


@pytest.mark.parametrize("kind", FAULTY)
async def test_an_answer_that_must_not_be_is_found(kind: str) -> None:
    answer, told = FAULTY[kind]
    report = await rehearse(FakeDaemon(replies={"POST seats/reserve": [answer]}))
    assert getattr(report.faults, kind) == [told]
    assert report.outcomes == {"bought": BUYERS - 1, "failed": 1}


async def test_an_answer_that_cannot_be_read_is_found() -> None:
    report = await rehearse(FakeDaemon(replies={"POST seats/reserve": [(201, {"reservation": 1})]}))
    assert report.faults.unexpected == ["POST /v1/seats/reserve: 201 ANSWER_UNREADABLE, 1 times"]


@pytest.mark.parametrize("answer", [refusal(429, "RATE_LIMITED"), refusal(503, "OVERLOADED")])
async def test_who_is_asked_to_come_again_does(autojump_clock: object, answer: Reply) -> None:
    report = await rehearse(FakeDaemon(replies={"POST queue/join": [answer, answer]}))
    assert report.ok, report.faults
    assert report.outcomes == {"bought": BUYERS}
    assert sum(error.count for error in report.errors if error.status == answer[0]) == 2


async def test_a_5xx_that_is_not_meant_is_found_even_if_it_passes(autojump_clock: object) -> None:
    report = await rehearse(FakeDaemon(replies={"POST queue/join": [refusal(503, "STORAGE_UNAVAILABLE")]}))
    assert report.outcomes == {"bought": BUYERS}
    assert report.faults.server_errors == ["POST /v1/queue/join: 503 STORAGE_UNAVAILABLE, 1 times"]


async def test_a_daemon_that_is_gone_is_found(autojump_clock: object) -> None:
    daemon = FakeDaemon()
    async with daemon.serving() as origin:
        good = await play_on(origin)
    notes = good.notes
    notes.note_unanswered("POST /v1/orders", "CONNECTION_LOST")
    report = make_report(good, None, buyers=BUYERS, seed=1)
    assert report.faults.unanswered == ["POST /v1/orders: CONNECTION_LOST, 1 times"]
    with pytest.raises(NotPlayable, match="CONNECTION_REFUSED"):
        await play_on(origin)


async def test_what_the_store_says_counts() -> None:
    async with FakeDaemon().serving() as origin:
        played = await play_on(origin)
    facts = StoreFacts(entries=6, admitted=6, overtaken=[], seats_sold=played.notes.seats_bought)
    good = make_report(played, StoreCheck(facts=facts, problems=[]), buyers=BUYERS, seed=1)
    assert good.ok
    for changed in (
        StoreCheck(facts=replace(facts, seats_sold=facts.seats_sold - 1), problems=[]),
        StoreCheck(facts=facts, problems=["a count is wrong"]),
        StoreCheck(facts=None, problems=["it cannot be read"]),
        StoreCheck(facts=replace(facts, overtaken=["number 1"]), problems=[]),
    ):
        assert not make_report(played, changed, buyers=BUYERS, seed=1).ok


async def test_the_bound_of_requests_and_the_time_limit_end_it_with_a_report(autojump_clock: object) -> None:
    report = await rehearse(FakeDaemon(), bounds=replace(BOUNDS, max_requests=20))
    assert report.ended_by == "the bound of 20 requests"
    assert report.outcomes["unfinished"] >= 1
    assert report.requests <= 20
    late = await rehearse(FakeDaemon(waits=tuple(range(1000, 0, -1))))
    assert late.ended_by == "the time limit of 60 s"
    assert late.outcomes == {"unfinished": BUYERS}
    assert late.ok


@pytest.mark.parametrize("status", ["ENDED", "SOLD_OUT", "CANCELLED", "UPCOMING"])
async def test_an_event_that_nobody_can_join_is_refused(status: str) -> None:
    event = {"event_id": EVENT, "name": "x", "total_capacity": 1, "available_seats": 1}
    daemon = FakeDaemon(
        replies={"GET events": [(200, {**event, "sale_info": {"general_sale_start": "x", "status": status}})]}
    )
    with pytest.RaisesGroup(pytest.RaisesExc(NotPlayable, match=status), flatten_subgroups=True):
        await rehearse(daemon)


async def test_roles_do_as_they_are_told(autojump_clock: object) -> None:
    shares = Shares(leave=25, never_claim=25, let_hold_lapse=25, decline=0, realtime=0)
    daemon = FakeDaemon(waits=(2, 1))
    report = await rehearse(daemon, replace(PLAN, buyers=40, shares=shares))
    assert report.ok, report.faults
    assert report.outcomes == {"bought": 10, "left": 10, "never claimed": 10, "let the hold lapse": 10}
    assert daemon.calls.count("DELETE queue/leave") == 10
    assert daemon.calls.count("POST orders") == 10
    assert daemon.calls.count("POST seats/reserve") == 20


async def test_who_waits_leaves_when_all_is_sold(autojump_clock: object) -> None:
    event = FakeDaemon()._event()
    gone = {**event, "sale_info": {"general_sale_start": "x", "status": "SOLD_OUT"}}
    looks: list[Reply] = [(200, event)] * (1 + BUYERS) + [(200, gone)]
    daemon = FakeDaemon(waits=tuple(range(1000, 0, -1)), replies={"GET events": looks})
    report = await rehearse(daemon)
    assert report.outcomes == {"found nothing left": BUYERS}
    assert report.seconds < 10
