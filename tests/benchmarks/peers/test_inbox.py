from __future__ import annotations

import asyncio

from benchmarks.peers.inbox import Inbox


async def test_what_came_is_taken_at_once_and_in_its_order():
    inbox: Inbox[int] = Inbox(10)
    inbox.add(1)
    await inbox.put(2)
    assert await inbox.take() == [1, 2]


async def test_a_receiver_waits_for_what_comes():
    inbox: Inbox[int] = Inbox(10)
    asyncio.get_running_loop().call_soon(inbox.add, 3)
    assert await inbox.take() == [3]


async def test_nothing_comes():
    inbox: Inbox[int] = Inbox(0.01)
    assert await inbox.take() == []
