"""Leaderships of a broker whose disk is full."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from myqueue.contract.errors import DiskFull, NotLeader
from raft_app.engine.disk import RETRY_MS
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster()
    await cluster.start_all()
    yield cluster
    await cluster.stop_all()


def set_room(cluster: EngineCluster, broker_id: int, free_bytes: int) -> None:
    disk = cluster.engines[broker_id].disk
    disk._free_bytes = lambda: free_bytes
    disk.look()


def leader_id(cluster: EngineCluster) -> int:
    """Broker that serves; 0 in between."""
    leader = cluster.leader()
    return leader.broker_id if leader else 0


async def test_leader_with_a_full_disk_hands_over_and_writes_go_on(cluster):
    await cluster.create_group()
    await cluster.append("a")
    set_room(cluster, 1, 0)
    ticks = await cluster.until(lambda: leader_id(cluster) in {2, 3})
    assert ticks < cluster.config.raft.election_timeout_ticks
    with pytest.raises(NotLeader):
        await cluster.engines[1].propose(1, ("append", "b"), timeout_ms=5_000)
    assert await cluster.append("b") == 1


async def test_leadership_goes_to_the_peer_that_has_room(cluster):
    await cluster.create_group()
    await cluster.append("a")
    set_room(cluster, 2, 0)
    set_room(cluster, 1, 0)
    await cluster.until(lambda: leader_id(cluster) == 3)
    assert await cluster.append("b") == 1


async def test_where_all_disks_are_full_one_replica_leads_on_in_its_term(cluster):
    await cluster.create_group()
    await cluster.append("a")
    term = cluster.the_leader().replicas[1].node.term
    for broker_id in cluster.engines:
        set_room(cluster, broker_id, 0)
    await cluster.ticks(3 * RETRY_MS // cluster.config.tick_ms)
    await cluster.until(lambda: cluster.engines[1].replicas[1].serves)
    assert cluster.the_leader().replicas[1].node.term == term
    with pytest.raises(DiskFull):
        await cluster.append("b")


async def test_replica_that_makes_room_is_heard_on_a_full_disk(cluster):
    await cluster.create_group()
    await cluster.append("a")
    for broker_id in cluster.engines:
        set_room(cluster, broker_id, 0)
    await cluster.until(lambda: cluster.engines[1].replicas[1].serves)
    request = ("add", "cut 1")
    leader = cluster.the_leader()
    assert await leader.propose(1, request, timeout_ms=5_000, may_use_reserve=True) == 1


async def test_space_that_is_back_lets_a_broker_lead_again(cluster):
    await cluster.create_group()
    set_room(cluster, 1, 0)
    await cluster.until(lambda: leader_id(cluster) in {2, 3})
    set_room(cluster, 1, 1 << 40)
    await cluster.the_leader().transfer_leadership(1, 1, timeout_ms=2_000)
    await cluster.until(lambda: leader_id(cluster) == 1)
    assert await cluster.append("b") == 0
