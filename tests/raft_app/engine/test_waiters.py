"""Requests that wait for their entry."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from myqueue.contract.errors import CommitTimeout, NoLeader
from raft_app.core.types import Entry, EntryKind
from raft_app.engine import waiters as module
from raft_app.engine.waiters import Deadlines, Told, Waiters

pytestmark = pytest.mark.asyncio


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND)


def waiting(waiters: Waiters, index: int, term: int) -> asyncio.Future:
    future = asyncio.get_running_loop().create_future()
    waiters.add(index, term, future)
    return future


async def test_everybody_who_waits_for_an_entry_gets_its_result():
    waiters = Waiters()
    futures = [waiting(waiters, 5, 2) for _ in range(2)]
    waiters.answer(entry(4, 2), "other", NoLeader)
    waiters.answer(entry(5, 2), "result", NoLeader)
    assert [future.result() for future in futures] == ["result", "result"]


async def test_another_entry_in_its_place_refuses():
    waiters = Waiters()
    lost, kept = waiting(waiters, 5, 2), waiting(waiters, 5, 3)
    waiters.answer(entry(5, 3), "result", NoLeader)
    with pytest.raises(NoLeader):
        lost.result()
    assert kept.result() == "result"


async def test_who_gave_up_is_passed_over():
    waiters = Waiters()
    future = waiting(waiters, 5, 2)
    future.cancel()
    waiters.answer(entry(5, 2), "result", NoLeader)
    waiting(waiters, 6, 2).cancel()
    waiters.fail("the end")
    assert future.cancelled()


async def test_failure_leaves_the_outcome_unknown_and_nobody_waiting():
    waiters = Waiters()
    future = waiting(waiters, 5, 2)
    waiters.fail("the broker stops")
    with pytest.raises(CommitTimeout, match="stops"):
        future.result()
    waiters.answer(entry(5, 2), "late", NoLeader)


class Outcomes(list):
    """What was told, errors by their class."""

    def tell(self, result, error):
        self.append(result if error is None else type(error))


async def test_who_is_told_at_once_is_told_once():
    waiters, outcomes = Waiters(), Outcomes()
    for index, term in ((5, 2), (6, 1), (7, 2)):
        waiters.add(index, term, Told(outcomes.tell))
    waiters.answer(entry(5, 2), "result", NoLeader)
    assert outcomes == ["result"]
    waiters.answer(entry(6, 2), "result", NoLeader)
    waiters.fail("the broker stops")
    waiters.fail("again")
    assert outcomes == ["result", NoLeader, CommitTimeout]


async def test_who_cannot_take_it_holds_up_nobody(caplog):
    waiters, outcomes = Waiters(), Outcomes()

    def broken(result, error):
        raise ZeroDivisionError("a bug")

    for tell in (broken, outcomes.tell):
        waiters.add(5, 2, Told(tell))
    waiters.answer(entry(5, 2), "result", NoLeader)
    assert outcomes == ["result"]
    assert "ZeroDivisionError: a bug" in caplog.text


async def test_a_wait_ends_when_it_is_over_and_not_before(monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.005)
    deadlines, outcomes = Deadlines(asyncio.get_running_loop()), Outcomes()
    where = SimpleNamespace(label="partition 0")
    late, done, patient = (Told(outcomes.tell) for _ in range(3))
    deadlines.watch(done, 10, where)
    deadlines.watch(patient, 60_000, where)
    deadlines.watch(late, 10, where)
    done.set_result("result")
    async with asyncio.timeout(10):
        while len(outcomes) < 2:
            await asyncio.sleep(0.005)
    assert outcomes == ["result", CommitTimeout]
    assert not patient.done()
    patient.set_result("at last")
    async with asyncio.timeout(10):
        while deadlines._waiting:  # nothing is kept of what was told
            await asyncio.sleep(0.005)
