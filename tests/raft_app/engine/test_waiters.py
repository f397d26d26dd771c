"""Requests that wait for their entry."""

from __future__ import annotations

import pytest

from myqueue.contract.errors import CommitTimeout, NoLeader
from raft_app.core.types import Entry, EntryKind
from raft_app.engine.waiters import Waiters

pytestmark = pytest.mark.asyncio


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND)


async def test_everybody_who_waits_for_an_entry_gets_its_result():
    waiters = Waiters()
    futures = [waiters.wait_for(5, 2) for _ in range(2)]
    waiters.answer(entry(4, 2), "other", NoLeader)
    waiters.answer(entry(5, 2), "result", NoLeader)
    assert [future.result() for future in futures] == ["result", "result"]


async def test_another_entry_in_its_place_refuses():
    waiters = Waiters()
    lost, kept = waiters.wait_for(5, 2), waiters.wait_for(5, 3)
    waiters.answer(entry(5, 3), "result", NoLeader)
    with pytest.raises(NoLeader):
        lost.result()
    assert kept.result() == "result"


async def test_who_gave_up_is_passed_over():
    waiters = Waiters()
    future = waiters.wait_for(5, 2)
    future.cancel()
    waiters.answer(entry(5, 2), "result", NoLeader)
    waiters.wait_for(6, 2).cancel()
    waiters.fail("the end")
    assert future.cancelled()


async def test_failure_leaves_the_outcome_unknown_and_nobody_waiting():
    waiters = Waiters()
    future = waiters.wait_for(5, 2)
    waiters.fail("the broker stops")
    with pytest.raises(CommitTimeout, match="stops"):
        future.result()
    waiters.answer(entry(5, 2), "late", NoLeader)
