"""The lock is taken in the order of arrival."""

from __future__ import annotations

import asyncio

import pytest

from broker_app.waiting.pop_lock import PopLock, _expire
from myqueue.contract.errors import Overloaded
from tests.broker_app.engine_twin import turns as loop_turns

KEY = (1, 1)


class Line:
    """Takes turns and notes who had one."""

    def __init__(self, waiting_max: int = 10) -> None:
        self.pop_lock = PopLock(waiting_max)
        self.done: list[int] = []
        self.gates = [asyncio.Event() for _ in range(6)]

    async def _take(self, number: int, timeout_ms: int) -> None:
        async with self.pop_lock.hold(KEY, timeout_ms=timeout_ms):
            await self.gates[number].wait()
            self.done.append(number)

    def start(self, number: int, timeout_ms: int = 60_000) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._take(number, timeout_ms))


async def test_first_come_first_served_also_when_some_leave() -> None:
    line = Line()
    tasks = [line.start(number) for number in range(5)]
    await loop_turns()
    for gate in line.gates:
        gate.set()
    tasks[1].cancel()
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert line.done == [0, 2, 4]
    assert line.pop_lock._queues == {}


async def test_holder_that_leaves_passes_the_turn_on() -> None:
    line = Line()
    tasks = [line.start(number) for number in range(3)]
    await loop_turns()
    tasks[0].cancel()
    await loop_turns()
    line.gates[1].set()
    line.gates[2].set()
    await asyncio.wait(tasks)
    assert line.done == [1, 2]


async def test_one_that_leaves_in_the_moment_of_its_turn_passes_it_on() -> None:
    line = Line()
    async with line.pop_lock.hold(KEY, timeout_ms=60_000):
        tasks = [line.start(number, timeout_ms=2_000) for number in (1, 2)]
        await loop_turns()
        for gate in line.gates:
            gate.set()
    # The first of them has its turn, and does not know it yet.
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    assert line.done == [2]
    assert line.pop_lock._queues == {}


async def test_one_that_leaves_as_its_time_is_over_passes_on_nothing() -> None:
    line = Line()
    first, second = line.start(0), line.start(1)
    await loop_turns()
    queue = line.pop_lock._queues[KEY]
    _expire(KEY, queue, queue[0])
    second.cancel()
    await asyncio.wait((second,))
    assert second.cancelled()
    third = line.start(3)
    for gate in line.gates[1:]:
        gate.set()
    await loop_turns()
    assert line.done == [], "the first still holds the turn"
    line.gates[0].set()
    await first
    await third
    assert line.done == [0, 3]
    assert line.pop_lock._queues == {}


async def test_waiting_is_bounded_in_number_and_time() -> None:
    line = Line(waiting_max=1)
    first, second = line.start(0), line.start(1, timeout_ms=5)
    await loop_turns()
    with pytest.raises(Overloaded):
        await line.start(2)
    with pytest.raises(Overloaded):
        await second
    line.gates[0].set()
    line.gates[3].set()
    await asyncio.wait((first, line.start(3)))
    assert line.done == [0, 3]


async def test_keys_do_not_wait_for_each_other() -> None:
    lock = PopLock(1)
    async with lock.hold((1, 1), timeout_ms=1), lock.hold((1, 2), timeout_ms=1):
        assert len(lock._queues) == 2
