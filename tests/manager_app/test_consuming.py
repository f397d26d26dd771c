from __future__ import annotations

import asyncio

import pytest

from manager_app.consuming import _first_positive
from myqueue.errors import NoLeader


def futures(count):
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]


async def test_the_first_in_the_order_wins_when_all_are_known():
    tasks = futures(3)
    for task, size in zip(tasks, (0, 4, 9), strict=True):
        task.set_result(size)
    assert await _first_positive(tasks) == 1


async def test_nothing_anywhere_is_none():
    tasks = futures(2)
    for task in tasks:
        task.set_result(0)
    assert await _first_positive(tasks) is None


async def test_one_that_waits_does_not_hold_up_one_that_has_something():
    tasks = futures(3)
    tasks[2].set_result(1)
    async with asyncio.timeout(2):
        assert await _first_positive(tasks) == 2


async def test_an_earlier_one_is_preferred_when_it_comes_soon_enough():
    tasks = futures(2)
    tasks[1].set_result(1)
    deciding = asyncio.ensure_future(_first_positive(tasks))
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[0].set_result(1)
    assert await deciding == 0


async def test_a_failure_counts_only_when_nothing_was_found():
    tasks = futures(2)
    tasks[0].set_exception(NoLeader())
    tasks[1].set_result(1)
    assert await _first_positive(tasks) == 1
    tasks = futures(2)
    tasks[0].set_exception(NoLeader())
    tasks[1].set_result(0)
    with pytest.raises(NoLeader):
        await _first_positive(tasks)
