"""Every endpoint over real sockets, rightly and wrongly, through each way of serving: the same answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from handlers.endpoint import Endpoint
from tests.api.lanes import BODY_LIMIT, LANES, Asked, Wire, asked_by, masked, serving_world
from tests.api.samples import Sample, endpoints_with_samples
from tests.api.world import open_world
from tests.front.raw_http import PATIENCE_SECONDS

T = TypeVar("T")
replace = msgspec.structs.replace

COUNTING: Final = frozenset({"get_metrics"})
"""Their bodies count what was asked, also of the requests that stand before the count."""
SHUFFLED: Final = frozenset({"list_keys"})
"""What they list is in the order of ids that were drawn."""
RACING: Final = "a body too large"
"""Whether such a body has come whole when it is refused, and so whether the connection goes on, is up to the kernel."""

RIGHTLY: Final = "rightly"

Seen = dict[str, tuple[int, dict[str, str], bytes]]


def in_a_world(data: Path, lane: str, test: Callable[[Wire], Awaitable[T]]) -> T:
    """Runs in a world of its own, served by one lane; time stands still."""

    async def run() -> T:
        async with open_world(data, clock) as world, serving_world(world, lane) as wire:
            return await test(wire)

    clock = trio.testing.MockClock()
    with capture_logs() as logs:
        found = trio.run(run, clock=clock)
    assert not [line for line in logs if line["log_level"] in {"error", "critical"}]
    return found


def right_call(line: Endpoint, sample: Sample) -> Asked:
    return asked_by(sample.client, line.method, sample.target(line), sample.body, sample.raw, sample.headers)


def wrong_calls(right: Asked, line: Endpoint) -> Iterator[tuple[str, Asked]]:
    """Calls that are refused, or that change nothing."""
    path, mark, query = right.target.partition("?")
    yield "no key", right.lacking("X-API-Key")
    yield "another key", right.lacking("X-API-Key").having(("X-API-Key", "tk_live_nobody"))
    yield "no token", right.lacking("Authorization").having(("X-A", "1"))
    yield "another token", right.lacking("Authorization").having(("Authorization", "Bearer x.y.z"))
    yield "another scheme", right.lacking("Authorization").having(("Authorization", "Basic eDp5"))
    yield "no device", right.lacking("X-Device-ID")
    yield "an unknown method", replace(right, method="BREW")
    yield "a method in small letters", replace(right, method=line.method.lower())
    yield "its options", replace(right, method="OPTIONS", body=b"")
    yield "a slash behind", replace(right, target=f"{path}/{mark}{query}")
    yield "a slash before", replace(right, target=f"/{right.target}")
    yield "a path within", replace(right, target=f"{path}/../{mark}{query}")
    yield "a fragment", replace(right, target=f"{right.target}#x")
    yield "an unknown field", replace(right, target=f"{path}?{query}{'&' if query else ''}zzz=1", body=b"{}")
    yield "a field twice", replace(right, target=f"{path}?page=1&page=2", body=b"{}")
    yield "a bad escape", replace(right, target=f"{path}?a=%zz&b=%ff", body=b"{}")
    yield (
        "an id that is none",
        replace(right, target="/".join(path.split("/")[:3]) + "/%00%0d%0a", body=b"{}"),
    )
    yield "a long session id", right.having(("X-Session-ID", "x" * 129))
    yield "a bad idempotency key", right.having(("Idempotency-Key", "short"))
    if line.method not in {"GET", "DELETE"}:
        yield "no body", replace(right.lacking("Content-Type"), body=b"")
        yield "half a body", replace(right, body=right.body[: len(right.body) // 2])
        yield "half a body in chunks", replace(right, body=b'{"a":', is_chunked=True)
        yield "another type", right.lacking("Content-Type").having(("Content-Type", "text/plain"))
        yield "two types", right.having(("Content-Type", "text/plain"))
        if not line.large:
            yield RACING, replace(right, body=b" " * (BODY_LIMIT + 1))
            yield f"{RACING} in chunks", replace(right, body=b" " * (BODY_LIMIT + 1), is_chunked=True)
            yield "the largest body", replace(right, body=b" " * BODY_LIMIT)


def other_forms(right: Asked) -> Iterator[tuple[str, Asked]]:
    """Other ways to write a call that only reads."""
    path, mark, query = right.target.partition("?")
    escaped = "/".join(
        f"%{ord(part[0]):02X}{part[1:]}" if part and part[0] != "%" else part for part in path.split("/")
    )
    yield "HEAD", replace(right, method="HEAD")
    yield "HEAD, compressed", replace(right, method="HEAD").having(("Accept-Encoding", "gzip"))
    yield "absolute form", replace(right, target=f"http://elsewhere{right.target}")
    yield "escaped", replace(right, target=f"{escaped}{mark}{query}")
    yield "a slash escaped", replace(right, target=f"/v1%2f{path[4:]}{mark}{query}")
    yield "compressed", right.having(("Accept-Encoding", "gzip;q=0.5"), ("Accept-Encoding", "zstd"))
    yield "of another origin", right.having(("Origin", "https://elsewhere.test"))
    yield "with what it has", right.having(("If-None-Match", '"x"'), ("If-None-Match", "*"))
    yield "HTTP/1.0", replace(right, version="1.0")
    yield "the last", right.having(("Connection", "close"))
    yield "with a body", replace(right, body=b"x")
    yield "with a body in chunks", replace(right, body=b"xyz", is_chunked=True)
    yield (
        "with spaces around values",
        right.having(("X-Request-ID", " \t6e3a0b5a-0000-7000-8000-000000000001 \t")),
    )
    yield "forwarded", right.having(("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2"))


async def ask_everything(wire: Wire) -> Seen:
    """Rightly first, in an order in which that succeeds; then wrongly, whatever is left to work on."""
    seen: Seen = {}
    lines = [(line, sample, right_call(line, sample)) for line, sample in endpoints_with_samples(wire.world)]

    async def note(line: Endpoint, sample: Sample, what: str, asked: Asked) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            status, headers, body = masked(await wire.ask(asked.bytes, sample.client.listener))
        if what.startswith(RACING):
            headers.pop("connection", None)
        if line.name in COUNTING and status == 200:
            body = b""
        if line.name in SHUFFLED:
            body = bytes(sorted(body))
        seen[f"{line.method} {line.path}: {what}"] = status, headers, body

    for line, sample, right in lines:
        for what, asked in other_forms(right) if line.method == "GET" else ():
            await note(line, sample, what, asked)
        waits = line.method != "GET" and bool(right.body)
        waiting = replace(right, is_chunked=True).having(("Expect", "100-continue"))
        await note(line, sample, RIGHTLY, waiting if waits else right)
        assert seen[f"{line.method} {line.path}: {RIGHTLY}"][0] == line.status, line.name
        await (
            trio.testing.wait_all_tasks_blocked()
        )  # What follows in the background stands in the next answers.
    for line, sample, right in lines:
        for what, asked in wrong_calls(right, line):
            await note(line, sample, what, asked)
        await trio.testing.wait_all_tasks_blocked()
    return seen


@cache
def everything(folder: Path, lane: str) -> Seen:
    return in_a_world(folder / lane, lane, ask_everything)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


@pytest.mark.parametrize("lane", [lane for lane in LANES if lane != "direct"])
def test_every_answer_is_the_same(folder: Path, lane: str) -> None:
    direct, other = everything(folder, "direct"), everything(folder, lane)
    assert len(direct) > 1000
    faults = [
        f"{what}: {told_apart(direct[what], other[what])}" for what in direct if direct[what] != other[what]
    ]
    if faults:
        pytest.fail(f"{len(faults)} of {len(direct)} differ:\n" + "\n".join(faults[:40]), pytrace=False)


def told_apart(one: tuple[int, dict[str, str], bytes], other: tuple[int, dict[str, str], bytes]) -> str:
    """What differs, shortly."""
    (status, headers, body), (other_status, other_headers, other_body) = one, other
    if status != other_status:
        return f"{status} {body[:90]!r} and {other_status} {other_body[:90]!r}"
    if headers != other_headers:
        ours, others = headers.items() - other_headers.items(), other_headers.items() - headers.items()
        return f"{sorted(ours)} and {sorted(others)}"
    at = next((at for at, (a, b) in enumerate(zip(body, other_body, strict=False)) if a != b), len(body))
    return f"{body[max(at - 30, 0) : at + 60]!r} and {other_body[max(at - 30, 0) : at + 60]!r}"
