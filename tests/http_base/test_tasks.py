from __future__ import annotations

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from http_base import tasks


class Flaky:
    """Work that fails in the given ways, one call after the other, and then works."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0
        self.worked = asyncio.Event()

    async def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        self.worked.set()


async def failing(error):
    raise error


async def test_work_that_fails_unexpectedly_is_logged_with_its_traceback_and_tells_its_owner(
    caplog,
):
    told = []
    task = tasks.spawn("sorting", failing(KeyError("a bug")), on_failure=told.append)
    await asyncio.wait((task,))
    await asyncio.sleep(0)
    [record] = caplog.records
    assert record.getMessage() == "sorting ended in an unexpected way"
    assert record.exc_info[0] is KeyError
    assert [type(error) for error in told] == [KeyError]


async def test_what_whoever_awaits_expects_is_told_to_them_alone(caplog):
    told = []
    task = tasks.spawn(
        "asking", failing(ValueError("no")), expected=(ValueError,), on_failure=told.append
    )
    with pytest.raises(ValueError, match="no"):
        await task
    await asyncio.sleep(0)
    assert not caplog.records
    assert not told


async def test_work_that_nobody_keeps_is_not_collected():
    reached = asyncio.Event()

    async def wait_for_nothing_else():
        # Nothing but the task refers to this future, and nothing but the future to the task.
        waiting = asyncio.get_running_loop().create_future()
        reached.set()
        await waiting

    tasks.spawn("waiting", wait_for_nothing_else())
    await reached.wait()
    gc.collect()
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == "waiting"]
    await tasks.cancel([task])
    assert task.cancelled()


async def test_repeated_work_goes_on_after_any_exception(caplog):
    work = Flaky(KeyError("a bug"), KeyError("a bug"), RuntimeError("can't start new thread"))
    task = tasks.every(0.001, "sweeping", work)
    async with asyncio.timeout(5):
        await work.worked.wait()
    assert not task.done()
    await tasks.cancel([task])
    logged = [record for record in caplog.records if record.exc_info]
    assert [record.exc_info[0] for record in logged] == [KeyError, RuntimeError]
    assert all("sweeping failed in an unexpected way" in one.getMessage() for one in logged)


async def test_an_expected_failure_is_one_line_until_it_works_again(caplog):
    caplog.set_level(logging.INFO)
    work = Flaky(OSError("away"), OSError("away"), OSError("still away"))
    task = tasks.every(0.001, "polling", work, expected=(OSError,))
    async with asyncio.timeout(5):
        await work.worked.wait()
        while len(caplog.records) < 2:
            await asyncio.sleep(0)
    await tasks.cancel([task])
    assert [record.getMessage() for record in caplog.records] == [
        "polling fails, and is tried again: away",
        "polling works again",
    ]
    assert not any(record.exc_info for record in caplog.records)


async def test_repeated_work_ends_when_it_is_cancelled():
    begun = asyncio.Event()

    async def work():
        begun.set()
        await asyncio.Event().wait()

    task = tasks.every(0, "working", work)
    await begun.wait()
    await tasks.cancel([task, None])
    assert task.cancelled()
    await tasks.cancel([])


def test_what_fails_in_a_thread_is_logged(caplog):
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(lambda: [][0])
        tasks.observe("counting", future)
    [record] = caplog.records
    assert record.getMessage() == "counting ended in an unexpected way"
    assert record.exc_info[0] is IndexError


async def test_no_more_than_the_limit_run_at_once_and_results_keep_their_order():
    running = peak = 0

    async def work(number):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    assert await tasks.gather_bounded((work(number) for number in range(20)), 3) == list(range(20))
    assert peak == 3


async def test_the_first_error_ends_the_others():
    ended = []

    async def work(number):
        if number == 1:
            raise ValueError("no")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="no"):
        await tasks.gather_bounded((work(number) for number in range(3)), 3)
    assert sorted(ended) == [0, 2]
