"""Waiting for messages without a thread."""

from __future__ import annotations

import asyncio

import pytest

from broker_app.waiting.longpoll import LongPolls
from myqueue.contract.errors import Overloaded
from tests.broker_app.engine_twin import turns


def start(polls: LongPolls, group_id: int, offset: int, seconds: float) -> asyncio.Task[bool]:
    loop = asyncio.get_running_loop()
    return loop.create_task(polls.wait(group_id, offset, loop.time() + seconds))


async def test_those_whose_offset_is_there_are_woken() -> None:
    polls = LongPolls(10)
    tasks = [start(polls, 1, 5, 60), start(polls, 1, 6, 60), start(polls, 2, 5, 60)]
    await turns()
    polls.applied(1, 6)
    await turns()
    assert [task.done() for task in tasks] == [True, False, False]
    assert await tasks[0] is True
    polls.disturb(1)
    polls.end()
    assert [await task for task in tasks[1:]] == [True, False]
    assert (polls.waiting, polls._groups) == (0, {})
    assert await start(polls, 1, 5, 60) is False


async def test_time_ends_and_clients_leave() -> None:
    polls = LongPolls(10)
    assert await start(polls, 1, 5, 0.005) is False
    assert await start(polls, 1, 5, -1) is False
    gone = start(polls, 1, 5, 60)
    await turns()
    gone.cancel()
    await turns()
    assert (polls.waiting, polls._groups) == (0, {})


async def test_number_of_waiters_is_bounded() -> None:
    polls = LongPolls(1)
    first = start(polls, 1, 5, 60)
    await turns()
    with pytest.raises(Overloaded):
        await start(polls, 2, 5, 60)
    polls.end()
    await first
