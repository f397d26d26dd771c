"""Workers that wait: one is woken at a time."""

from __future__ import annotations

import asyncio

import pytest

from broker_app.waiting.work_waits import WorkWaits
from myqueue.contract.errors import Overloaded
from tests.broker_app.engine_twin import turns

KEY, OTHER = (7, "workers"), (7, "others")


class Waits(WorkWaits):
    """Waits for what the test says is there."""

    def __init__(self, waiting_max: int = 10) -> None:
        self.due: dict[tuple[int, str], float] = {}
        self.asked = 0
        super().__init__(waiting_max, self.due_in)

    def due_in(self, key: tuple[int, str]) -> float | None:
        self.asked += 1
        return self.due.get(key)

    def start(self, key: tuple[int, str] = KEY, seconds: float = 60) -> asyncio.Task[bool]:
        loop = asyncio.get_running_loop()
        return loop.create_task(self.wait(key, loop.time() + seconds))

    @property
    def is_empty(self) -> bool:
        return not self.waiting and not self._partitions


async def test_news_wake_the_one_that_waited_longest_and_each_that_was_served_the_next() -> None:
    waits = Waits()
    tasks = [waits.start() for _ in range(3)]
    await turns()
    waits.due[KEY] = 0
    for _ in range(4):
        waits.applied(7)
    await turns()
    assert [task.done() for task in tasks] == [True, False, False]
    waits.served(KEY)
    await turns()
    assert [task.done() for task in tasks] == [True, True, False]
    del waits.due[KEY]
    waits.served(KEY)
    await turns()
    assert not tasks[2].done()
    waits.end()
    assert [await task for task in tasks] == [True, True, False]
    assert waits.is_empty


async def test_news_of_one_group_wake_no_other_and_cost_nothing_without_waiters() -> None:
    waits = Waits()
    waits.applied(7)
    assert waits.asked == 0
    task, other = waits.start(), waits.start(OTHER)
    await turns()
    waits.due[OTHER] = 0
    waits.applied(7)
    waits.applied(8)
    await turns()
    assert (task.done(), other.done()) == (False, True)
    waits.served(OTHER)
    waits.disturb(7)
    assert await task
    waits.served(KEY)
    assert waits.is_empty


async def test_what_was_missed_between_the_look_and_the_waiting_wakes_at_once() -> None:
    waits = Waits()
    waits.due[KEY] = 0
    assert await waits.start()
    waits.served(KEY)
    assert waits.is_empty


async def test_one_timer_wakes_when_a_message_comes_back() -> None:
    waits = Waits()
    waits.due[KEY] = 0.005
    tasks = [waits.start() for _ in range(2)]
    await turns()
    waits.due[KEY] = 0
    assert await tasks[0]
    await turns()
    assert not tasks[1].done()
    tasks[1].cancel()
    waits.served(KEY)
    await turns()
    assert waits.is_empty


async def test_the_time_of_a_waiter_ends_and_its_timer_with_it() -> None:
    waits = Waits()
    waits.due[KEY] = 50
    assert not await waits.start(seconds=0)
    assert not await waits.start(seconds=0.005)
    assert waits.is_empty


async def test_one_that_goes_away_when_it_was_woken_hands_on() -> None:
    waits = Waits()
    first, second = waits.start(), waits.start()
    await turns()
    waits.due[KEY] = 0
    waits.applied(7)
    first.cancel()
    assert await second
    waits.served(KEY)
    await turns()
    assert waits.is_empty


async def test_too_many_are_refused() -> None:
    waits = Waits(waiting_max=1)
    task = waits.start()
    await turns()
    with pytest.raises(Overloaded):
        await waits.start()
    waits.end()
    assert not await task
    assert not await waits.start()
