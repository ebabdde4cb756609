from __future__ import annotations

import pytest
import structlog
import trio
import trio.testing
from trio.testing import MockClock

from tests.domain.refusals import refused
from ticketd.errors import ErrorCode, Refusal
from ticketd.tasks.jobs import Job


async def test_the_result_is_given_to_the_one_who_waits() -> None:
    async def work() -> int:
        return 42

    job = Job(work)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run)
        assert await job.wait_result() == 42
    assert await job.wait_result() == 42


async def test_a_result_of_none_is_a_result() -> None:
    job = Job(trio.lowlevel.checkpoint)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(job.run)
        await job.wait_result()


@pytest.mark.parametrize("failure", [Refusal(ErrorCode.PAYMENT_DECLINED), ZeroDivisionError("a fault")])
async def test_what_it_raises_is_for_the_one_who_waits_and_for_nobody_else(failure: Exception) -> None:
    async def work() -> None:
        raise failure

    job = Job(work)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.run)
            with pytest.raises(type(failure)) as caught:
                await job.wait_result()
            assert caught.value is failure
    assert logs == []


@pytest.mark.parametrize(
    ("failure", "lines"), [(Refusal(ErrorCode.PAYMENT_DECLINED), 0), (ZeroDivisionError("a fault"), 1)]
)
async def test_it_goes_on_when_nobody_waits_any_more(
    autojump_clock: MockClock, failure: Exception, lines: int
) -> None:
    done = trio.Event()

    async def work() -> None:
        await trio.sleep(10)
        done.set()
        raise failure

    job = Job(work)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.run)
            with trio.move_on_after(1) as scope:
                await job.wait_result()
            assert scope.cancelled_caught
            await done.wait()
    assert len(logs) == lines


async def test_work_that_is_cut_short_is_told_so() -> None:
    job = Job(trio.sleep_forever)
    async with trio.open_nursery() as waiters:
        waiters.start_soon(refused, ErrorCode.OVERLOADED, job.wait_result())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(job.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
