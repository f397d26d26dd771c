from __future__ import annotations

import asyncio

import pytest

from myqueue.producer.aio_futures import LoopFuture


async def test_a_failure_counts_as_told_once_somebody_took_it() -> None:
    taken: LoopFuture[int] = LoopFuture()
    taken.fail(ZeroDivisionError("x"))
    assert not taken.is_reported
    with pytest.raises(ZeroDivisionError):
        await taken
    assert taken.is_reported
    left: LoopFuture[int] = LoopFuture()
    left.fail(ZeroDivisionError("x"))
    left.count_as_reported()
    assert left.is_reported


async def test_whoever_cancelled_the_wait_was_not_told() -> None:
    future: LoopFuture[int] = LoopFuture()
    waiting = asyncio.ensure_future(asyncio.wait_for(future, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    future.fail(ZeroDivisionError("x"))
    future.settle(1)
    future.count_as_reported()
    assert not future.is_reported
