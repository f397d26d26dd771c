"""Workers that wait without taking anything: they ask for no messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker_app.partition.commands import ReceiveMessages, Start
from broker_app.services import work as work_service
from tests.broker_app.engine_twin import EngineTwin, turns
from tests.broker_app.services.test_work import Worker, seen

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import ReplicaTwin


@pytest.fixture
def worker(runtime: BrokerRuntime, replica: ReplicaTwin, engine: EngineTwin) -> Worker:
    return Worker(runtime, replica, engine)


async def test_looking_delivers_nothing(worker: Worker) -> None:
    await worker.produce("a")
    assert await worker.got(max_messages=0, wait_ms=20_000) == []
    assert worker.proposed(ReceiveMessages) == 0
    assert await worker.got() == [("a", 1)]
    assert await worker.got(max_messages=0) == []


async def test_a_worker_that_looks_is_answered_when_a_message_comes_or_comes_back(
    worker: Worker,
) -> None:
    for change in (lambda: worker.produce("a"), lambda: _let_time_pass(worker)):
        waiting = worker.start(max_messages=0, wait_ms=20_000)
        await turns()
        assert not waiting.done()
        await change()
        assert seen(await waiting) == []
        assert len(await worker.got(visibility_ms=30)) == 1


async def _let_time_pass(worker: Worker) -> None:
    worker.engine.clock += 30


async def test_one_message_wakes_one_of_many_that_look(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_service, "LOOK_GRACE_S", 3_600)
    waiting = [worker.start(max_messages=0, wait_ms=20_000) for _ in range(5)]
    await turns()
    await worker.produce("a", "b")
    await turns(20)
    assert [task.done() for task in waiting] == [True, False, False, False, False]
    # It takes what it was told of: what is left wakes the next.
    assert await worker.got() == [("a", 1)]
    await turns(20)
    assert [task.done() for task in waiting] == [True, True, False, False, False]
    assert await worker.got() == [("b", 1)]
    await turns(20)
    assert sum(task.done() for task in waiting) == 2
    worker.runtime.end_long_polls()
    assert [seen(one) for one in await asyncio.gather(*waiting)] == [[]] * 5


async def test_one_that_was_told_and_does_not_come_is_not_waited_for(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_service, "LOOK_GRACE_S", 0.001)
    gone = worker.start(max_messages=0, wait_ms=20_000)
    await turns()
    other = worker.start(wait_ms=20_000)
    await turns()
    await worker.produce("a")
    assert seen(await gone) == []
    assert seen(await other) == [("a", 1)]


async def test_a_group_that_starts_at_the_latest_begins_when_it_looks(worker: Worker) -> None:
    await worker.produce("old")
    assert await worker.got(max_messages=0, start=Start.LATEST) == []
    assert worker.proposed(ReceiveMessages) == 1
    await worker.produce("new")
    assert await worker.got(max_messages=0, start=Start.LATEST, wait_ms=20_000) == []
    assert worker.proposed(ReceiveMessages) == 1
    assert await worker.got(start=Start.LATEST) == [("new", 1)]
