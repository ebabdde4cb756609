"""The report: what a rehearsal found, as data for programs and as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from ticketd.rehearsal.judgement import Faults, StoreCheck, judge
from ticketd.rehearsal.measurements import BUCKET_SECONDS, SHOPPED, Measurements, Outcome, percentile
from ticketd.rehearsal.play import Played

SAFE_SHARE_OF_A_CORE: Final = 0.7
"""Up to here a core can be loaded for long; beyond it, waiting times grow without bound."""
PROMPT_MS: Final = 500.0
"""While 99 of 100 answers come within this, the daemon keeps up with its crowd."""
_BAR: Final = 40
_LATE_MS: Final = 50.0


class Latency(Struct, frozen=True, kw_only=True):
    """How long answers of one endpoint took, in milliseconds."""

    endpoint: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class CodeCount(Struct, frozen=True, kw_only=True):
    """How often a call was refused in one way; ``status`` is 0 where no answer came."""

    endpoint: str
    status: int
    code: str
    count: int


class Window(Struct, frozen=True, kw_only=True):
    """Ten seconds of the rehearsal: who learnt that it is their turn, whose visit was completed, all answers."""

    from_s: int
    let_in: int
    completed: int
    answers: int
    p99_ms: float


class Bearable(Struct, frozen=True, kw_only=True):
    """The admission rate that this machine can bear. ``by_processor``: visits a minute at 70 % of a core, from the
    daemon's processor time for each buyer let in; None for somebody's daemon. ``seen``: the most completed visits in
    ten seconds in which the daemon kept up, as a rate a minute; None if there were none."""

    processor_ms_per_visit: float | None
    by_processor_per_minute: int | None
    seen_per_minute: int | None


class Report(Struct, frozen=True, kw_only=True):
    """What a rehearsal found."""

    ok: bool
    faults: Faults
    event_id: str
    event_name: str
    buyers: int
    seed: int
    seconds: float
    ended_by: str
    capacity: int
    available_before: int
    available_after: int | None
    orders: int
    seats_sold: int
    joined: int
    let_in: int
    outcomes: dict[str, int]
    windows: list[Window]
    latencies: list[Latency]
    errors: list[CodeCount]
    requests: int
    websocket_messages: int
    bearable: Bearable
    odd: dict[str, int]
    store_checked: bool


def make_report(played: Played, store: StoreCheck | None, *, buyers: int, seed: int) -> Report:
    """The report of a play. ``store`` is None for somebody's daemon."""
    notes = played.notes
    faults = judge(played, store)
    windows = _windows(notes)
    return Report(
        ok=not faults.any,
        faults=faults,
        event_id=played.before.event_id,
        event_name=played.before.name,
        buyers=buyers,
        seed=seed,
        seconds=round(played.seconds, 1),
        ended_by=played.ended_by,
        capacity=played.before.total_capacity,
        available_before=played.before.available_seats,
        available_after=None if played.after is None else played.after.available_seats,
        orders=len(notes.purchases),
        seats_sold=notes.seats_bought,
        joined=notes.joined,
        let_in=notes.let_in_by_bucket.total(),
        outcomes={outcome.value: notes.outcomes[outcome] for outcome in Outcome if notes.outcomes[outcome]},
        windows=windows,
        latencies=[_latency(endpoint, seconds) for endpoint, seconds in sorted(notes.latencies.items())],
        errors=[
            CodeCount(endpoint=endpoint, status=status, code=code, count=count)
            for (endpoint, status, code), count in sorted(notes.codes.items())
        ],
        requests=notes.requests,
        websocket_messages=notes.messages,
        bearable=_bearable(played, windows),
        odd=_odd(notes),
        store_checked=store is not None,
    )


def report_text(report: Report) -> str:
    """The report for people."""
    lines = [
        f"Rehearsal of {report.event_name}: {report.buyers} buyers, seed {report.seed}, {report.seconds:g} s",
        *(
            [f"It was ended by {report.ended_by}: this is what was seen until then."]
            if report.ended_by
            else []
        ),
        "",
        f"  seats sold     {report.seats_sold} of {report.available_before} in {report.orders} orders",
        f"  oversold       {_verdict(report.faults.oversold)}",
        f"  overtaken      {_verdict(report.faults.overtaken)}",
        f"  buyers         {report.joined} joined, {report.let_in} were let in",
        *(f"                 {count:>6} {outcome}" for outcome, count in report.outcomes.items()),
        *(["  store          " + _verdict(report.faults.store)] if report.store_checked else []),
        "",
        f"Let in, by {BUCKET_SECONDS} s:",
        *_histogram(report.windows),
        "",
        "Latency in ms (from sending a request to the end of its answer):",
        *_latency_table(report.latencies),
        "",
        "Refusals and errors:",
        *(_error_table(report.errors) or ["  none"]),
        "",
        *_bearable_text(report.bearable),
        *(["", "Worth a look:"] if report.odd else []),
        *(f"  {count} × {sentence}" for sentence, count in report.odd.items()),
        "",
        *_fault_text(report.faults),
    ]
    return "\n".join(lines)


def _windows(notes: Measurements) -> list[Window]:
    last = max([*notes.by_bucket, *notes.let_in_by_bucket, *notes.done_by_bucket], default=-1)
    return [
        Window(
            from_s=bucket * BUCKET_SECONDS,
            let_in=notes.let_in_by_bucket[bucket],
            completed=notes.done_by_bucket[bucket],
            answers=len(notes.by_bucket.get(bucket, ())),
            p99_ms=_ms(percentile(sorted(notes.by_bucket.get(bucket, ())), 99)),
        )
        for bucket in range(last + 1)
    ]


def _latency(endpoint: str, seconds: Iterable[float]) -> Latency:
    ordered = sorted(seconds)
    return Latency(
        endpoint=endpoint,
        count=len(ordered),
        p50_ms=_ms(percentile(ordered, 50)),
        p90_ms=_ms(percentile(ordered, 90)),
        p99_ms=_ms(percentile(ordered, 99)),
        max_ms=_ms(percentile(ordered, 100)),
    )


def _bearable(played: Played, windows: Sequence[Window]) -> Bearable:
    let_in = played.notes.let_in_by_bucket.total()
    per_visit_s = played.busy_seconds / let_in if played.busy_seconds and let_in else None
    seen = [window.completed for window in windows if window.completed and window.p99_ms <= PROMPT_MS]
    return Bearable(
        processor_ms_per_visit=None if per_visit_s is None else _ms(per_visit_s),
        by_processor_per_minute=None if per_visit_s is None else int(SAFE_SHARE_OF_A_CORE * 60 / per_visit_s),
        seen_per_minute=max(seen) * 60 // BUCKET_SECONDS if seen else None,
    )


def _odd(notes: Measurements) -> dict[str, int]:
    odd = dict(notes.odd)
    late_ms = _ms(percentile(sorted(notes.late_s), 99))
    if late_ms > _LATE_MS:
        odd[f"the rehearsal itself was late by {late_ms} ms (p99): latencies are those of a busy machine"] = 1
    if notes.slot_wait_max_s > 1:
        wait_s = round(notes.slot_wait_max_s, 1)
        odd[f"a buyer waited {wait_s} s for one of the rehearsal's own connections: give it more"] = 1
    shopped = sum(notes.outcomes[outcome] for outcome in SHOPPED)
    if notes.joined and not shopped:
        odd["nobody completed a visit"] = 1
    return odd


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _verdict(faults: Sequence[str]) -> str:
    return f"{len(faults)}: NOT AS IT MUST BE" if faults else "0"


def _histogram(windows: Sequence[Window]) -> list[str]:
    most = max((window.let_in for window in windows), default=0)
    return [
        f"  {window.from_s:>5} s  {window.let_in:>6}  {'#' * (window.let_in * _BAR // most if most else 0)}".rstrip()
        for window in windows
    ]


def _latency_table(latencies: Sequence[Latency]) -> list[str]:
    wide = max((len(latency.endpoint) for latency in latencies), default=0)
    head = f"  {'':{wide}}  {'count':>7}  {'p50':>8}  {'p90':>8}  {'p99':>8}  {'max':>8}"
    return [head] + [
        f"  {one.endpoint:{wide}}  {one.count:>7}  {one.p50_ms:>8.1f}  {one.p90_ms:>8.1f}  {one.p99_ms:>8.1f}"
        f"  {one.max_ms:>8.1f}"
        for one in latencies
    ]


def _error_table(errors: Sequence[CodeCount]) -> list[str]:
    return [f"  {one.count:>6}  {one.status or '-':>3}  {one.code}  ({one.endpoint})" for one in errors]


def _bearable_text(bearable: Bearable) -> list[str]:
    lines = ["Admission rate that this machine can bear:"]
    if bearable.by_processor_per_minute is not None:
        lines.append(
            f"  about {bearable.by_processor_per_minute} a minute at {SAFE_SHARE_OF_A_CORE:.0%} of a core "
            f"({bearable.processor_ms_per_visit} ms of processor time for each buyer let in)"
        )
    if bearable.seen_per_minute is not None:
        lines.append(
            f"  at least {bearable.seen_per_minute} a minute: so many visits were completed while 99 % of the answers "
            f"came within {PROMPT_MS:g} ms"
        )
    if len(lines) == 1:
        lines.append("  unknown: no visit was completed while the daemon kept up")
    return lines


def _fault_text(faults: Faults) -> list[str]:
    if not faults.any:
        return ["All is as it must be."]
    lines = ["NOT AS IT MUST BE:"]
    for name in faults.__struct_fields__:
        lines += [f"  {name.replace('_', ' ')}: {sentence}" for sentence in getattr(faults, name)]
    return lines
