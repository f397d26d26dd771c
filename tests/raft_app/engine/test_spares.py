"""Followers that a quorum does without: they lag by a moment, and nothing waits for them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from raft_app.core.config import RaftConfig
from raft_app.engine import failover, spares
from raft_app.engine.config import EngineConfig
from raft_app.engine.failover import hint_rank
from raft_app.engine.spares import SpareSends
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CONFIG = EngineConfig(raft=RaftConfig(spares_wait_bytes=64 << 10), ticks_missed_max=1_000_000)
TIMEOUT_SECONDS = 20.0


@asynccontextmanager
async def led(groups: int = 1) -> AsyncIterator[EngineCluster]:
    """Make three brokers with groups that broker 1 leads; no ticks pass but those of the test."""
    cluster = EngineCluster(config=CONFIG)
    try:
        await cluster.start_all()
        for group_id in range(1, groups + 1):
            await cluster.create_group(group_id)
            await cluster.append("first", group_id)
            await come(lambda one=group_id: hold(cluster, one) == {1, 2, 3})
        yield cluster
    finally:
        await cluster.stop_all()


async def come(holds: Callable[[], bool]) -> None:
    """Wait for something that comes without a tick."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not holds():
            await asyncio.sleep(0.001)


def hold(cluster: EngineCluster, group_id: int = 1) -> set[int]:
    """Return the brokers that hold all that the leader has."""
    last_index = cluster.engines[1].replicas[group_id].node.last_index
    return {
        broker_id
        for broker_id, engine in cluster.engines.items()
        if engine.replicas[group_id].node.log.durable_index == last_index
    }


def spare(cluster: EngineCluster, group_id: int = 1) -> int:
    """Return the broker of the spare follower."""
    progress = cluster.engines[1].replicas[group_id].node.progress
    (found,) = (peer for peer, one in progress.items() if one.is_spare)
    return found - 10 * group_id


async def test_what_is_written_one_after_the_other_reaches_the_spare_follower_together(monkeypatch):
    monkeypatch.setattr(spares, "WAIT_MS", 300)
    async with led() as cluster:
        late = spare(cluster)
        before = {number: one.stream.transactions for number, one in cluster.engines.items()}
        for text in "abcdefgh":
            await cluster.append(text)
        assert late not in hold(cluster)
        await come(lambda: late in hold(cluster))
        done = {n: one.stream.transactions - before[n] for n, one in cluster.engines.items()}
        assert done[5 - late] >= 8
        assert done[late] <= 3
        await come(lambda: cluster.values(late)[:-1] == ["first", *"abcdefg"])


async def test_the_leader_sends_to_each_of_its_groups_spare_followers_in_time():
    async with led(groups=3) as cluster:
        for group_id in (1, 2, 3):
            await cluster.append("a", group_id)
        for group_id in (1, 2, 3):
            await come(lambda one=group_id: hold(cluster, one) == {1, 2, 3})


async def test_a_group_that_is_dropped_owes_nothing():
    async with led(groups=2) as cluster:
        await cluster.append("a", 1)
        await cluster.append("a", 2)
        await cluster.engines[1].delete_replica(1)
        await come(lambda: hold(cluster, 2) == {1, 2, 3})


async def test_who_was_spare_and_asks_first_is_overtaken_at_once_by_who_can_win(monkeypatch):
    monkeypatch.setattr(failover, "RANK_MS", 60_000)
    async with led() as cluster:
        monkeypatch.setattr(spares, "WAIT_MS", 60_000)
        rank = {one: hint_rank(cluster.engines[one].replicas[1], lost=11) for one in (2, 3)}
        late, successor = sorted(rank, key=rank.__getitem__)
        for peer, progress in cluster.engines[1].replicas[1].node.progress.items():
            progress.is_spare = peer == 10 + late
        await cluster.append("a")
        assert late not in hold(cluster)
        cluster.hub.isolate(1)
        await come(lambda: cluster.engines[successor].replicas[1].serves)
        assert cluster.values(successor) == ["first", "a"]


# --- the moment to send ---------------------------------------------------------------------------


class Leader:
    """A leader that owes something to a spare follower; `commit` is what it waits for."""

    group_id = 1
    last_index = 2
    spares_due = True

    def __init__(self) -> None:
        self.node = self
        self.commit_index = 1
        self.sent = 0

    def send_to_spares(self) -> None:
        self.sent += 1
        self.spares_due = False


@pytest.fixture
def leader() -> Leader:
    return Leader()


async def test_nothing_is_sent_in_the_middle_of_a_commit_but_right_after_it(monkeypatch, leader):
    monkeypatch.setattr(spares, "WAIT_MS", 100)
    marked: list[Leader] = []
    sends = SpareSends({1: leader}, marked.append)
    sends.note(leader)
    await asyncio.sleep(0.15)
    assert not leader.sent
    sends.note(leader)
    await asyncio.sleep(0)
    assert not leader.sent
    leader.commit_index = 2
    sends.note(leader)
    assert not leader.sent  # the answers of the turn go first
    await asyncio.sleep(0)
    assert leader.sent == 1
    assert marked == [leader]


async def test_a_commit_that_does_not_come_is_not_waited_for(monkeypatch, leader):
    monkeypatch.setattr(spares, "WAIT_MS", 20)
    sends = SpareSends({1: leader}, lambda _: None)
    sends.note(leader)
    await come(lambda: leader.sent == 1)


async def test_who_leads_no_more_sends_nothing(monkeypatch, leader):
    monkeypatch.setattr(spares, "WAIT_MS", 5)
    replicas = {1: leader}
    sends = SpareSends(replicas, lambda _: None)
    sends.note(leader)
    leader.spares_due = False
    await asyncio.sleep(0.05)
    leader.spares_due = True
    sends.note(leader)
    del replicas[1]
    await asyncio.sleep(0.05)
    assert not leader.sent
