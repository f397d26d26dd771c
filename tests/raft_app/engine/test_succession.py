"""Requests between two leaders, over the in-memory storage and transport; no tick passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from myqueue.contract.errors import NoLeader, NotLeader, Overloaded
from raft_app.engine import succession
from raft_app.engine.succession import Succession, is_between_leaders
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio

PATIENCE_MS = 60_000
"""So long that what is waited for comes before, on any machine."""


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster()
    await cluster.start_all()
    await cluster.create_group()
    yield cluster
    await cluster.stop_all()


def wait_at_most(monkeypatch, milliseconds: int) -> None:
    for limit in ("HAND_OVER_MS", "ELECTION_MS"):
        monkeypatch.setattr(succession, limit, milliseconds)


def replica(group_id: int = 1, *, between: bool = True):
    node = SimpleNamespace(is_leader=False)
    return SimpleNamespace(
        group_id=group_id, node=node, faulty="", leader_broker_id=0 if between else 1
    )


async def test_a_request_during_a_hand_over_is_told_the_new_leader_which_takes_it(
    cluster, monkeypatch
):
    wait_at_most(monkeypatch, PATIENCE_MS)
    first, second = cluster.engines[1], cluster.engines[2]
    handing = asyncio.create_task(first.transfer_leadership(1, 2, timeout_ms=PATIENCE_MS))
    await cluster_until(lambda: is_between_leaders(first.replicas[1]))
    with pytest.raises(NotLeader) as refused:
        await first.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS)
    assert refused.value.details["leader"] == {"broker_id": 2, "address": "http://broker-2:80"}
    assert await second.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS) == 0
    await handing


async def test_a_new_leader_keeps_what_comes_before_it_serves(cluster, monkeypatch):
    wait_at_most(monkeypatch, PATIENCE_MS)
    second = cluster.engines[2]
    early: list[asyncio.Task[int]] = []

    def propose_early(replica) -> None:
        if replica.is_leader and not replica.serves and not early:
            asked = second.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS)
            early.append(asyncio.create_task(asked))

    second.on_leadership.append(propose_early)
    await cluster.engines[1].transfer_leadership(1, 2, timeout_ms=PATIENCE_MS)
    assert await early[0] == 0


async def test_a_request_is_refused_when_a_hand_over_takes_long_and_taken_once_it_is_given_up(
    cluster, monkeypatch
):
    wait_at_most(monkeypatch, 1)
    await cluster.stop(2)
    first = cluster.engines[1]
    replica = first.replicas[1]
    replica.node.transfer_leadership(12)
    with pytest.raises(Overloaded):
        await first.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS)
    await cluster.until(lambda: not is_between_leaders(replica))
    assert await first.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS) == 0


async def test_without_a_leader_a_request_is_refused_after_a_while(cluster, monkeypatch):
    wait_at_most(monkeypatch, 1)
    for other in (2, 3):
        await cluster.stop(other)
    first = cluster.engines[1]
    await cluster.until(lambda: not first.replicas[1].is_leader)
    with pytest.raises(NoLeader):
        await first.propose(1, ("append", "a"), timeout_ms=PATIENCE_MS)


async def test_the_time_of_a_wait_is_taken_from_that_of_the_request(monkeypatch):
    wait_at_most(monkeypatch, PATIENCE_MS)
    waited_ms = await Succession().wait(replica(), timeout_ms=20)
    assert waited_ms >= 19  # a clock may end a millisecond early


async def test_a_leader_that_hands_over_is_waited_for_longer_than_an_election(monkeypatch):
    monkeypatch.setattr(succession, "HAND_OVER_MS", PATIENCE_MS)
    monkeypatch.setattr(succession, "ELECTION_MS", 1)
    leading = replica()
    leading.node.is_leader, leading.node.serves = True, False
    assert await Succession().wait(leading, timeout_ms=50) >= 49
    assert await Succession().wait(replica(), timeout_ms=PATIENCE_MS) < PATIENCE_MS


async def test_all_who_wait_for_a_group_go_on_at_once_in_their_order(monkeypatch):
    wait_at_most(monkeypatch, PATIENCE_MS)
    waiting, order = Succession(), []

    async def wait(number: int) -> None:
        await waiting.wait(replica(), PATIENCE_MS)
        order.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting.leadership_changed(replica(between=True))
    waiting.leadership_changed(replica(group_id=2, between=False))
    await asyncio.sleep(0)
    assert order == []
    waiting.leadership_changed(replica(between=False))
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert waiting._waiting == {}


async def test_one_that_gives_up_waiting_leaves_nothing_behind():
    waiting = Succession()
    task = asyncio.create_task(waiting.wait(replica(), PATIENCE_MS))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert waiting._waiting == {}


async def cluster_until(holds) -> None:
    """Let the loop go on until something holds; no tick passes."""
    while not holds():
        await asyncio.sleep(0)
