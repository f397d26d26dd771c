"""Bytes per second, on a loop whose time is counted."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.engine.throttle import Throttle

pytestmark = pytest.mark.asyncio


async def test_the_first_bytes_are_free_and_the_next_wait_for_them():
    loop = asyncio.get_running_loop()
    throttle = Throttle(1_000)
    started = loop.time()
    await throttle.take(100)
    assert loop.time() - started < 0.05
    await throttle.take(1)
    assert loop.time() - started >= 0.1


async def test_all_who_share_it_share_the_rate():
    loop = asyncio.get_running_loop()
    throttle = Throttle(10_000)
    started = loop.time()
    await asyncio.gather(*(throttle.take(200) for _ in range(11)))
    assert loop.time() - started >= 0.2


async def test_no_take_counts_for_longer_than_is_allowed_whatever_the_rate_is():
    loop = asyncio.get_running_loop()
    throttle = Throttle(1, seconds_max=0.05)
    started = loop.time()
    for _ in range(3):
        await throttle.take(1_000)
    assert 0.09 <= loop.time() - started < 5
