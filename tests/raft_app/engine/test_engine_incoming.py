"""What the transport brings to the groups of an engine."""

from __future__ import annotations

import pytest

from raft_app.core.types import Heartbeat, TimeoutNow
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def cluster():
    cluster = EngineCluster()
    await cluster.start_all()
    await cluster.create_group()
    yield cluster
    await cluster.stop_all()


async def test_rpcs_for_nobody_here_or_from_somewhere_else_are_counted(cluster):
    incoming = cluster.engines[2].incoming
    term = cluster.the_leader().replicas[1].node.term
    for broker_id, group_id, rpc in (
        (1, 9, Heartbeat(12, 11, term, 0)),
        (1, 1, Heartbeat(99, 11, term, 0)),
        (3, 1, TimeoutNow(12, 11, term)),
    ):
        before = incoming.unknown_groups
        incoming.rpcs_received(broker_id, [(group_id, rpc)])
        assert incoming.unknown_groups == before + 1
    await cluster.ticks(5)
    assert cluster.the_leader().broker_id == 1


async def test_unreachable_peer_is_probed_again_and_catches_up(cluster):
    await cluster.append("a")
    cluster.engines[1].incoming.peer_unreachable(2)
    cluster.engines[1].incoming.peer_unreachable(9)
    await cluster.append("b")
    await cluster.until(lambda: cluster.values(2) == ["a", "b"])


async def test_lost_connection_of_a_follower_changes_nothing(cluster):
    cluster.engines[1].incoming.peer_connected(3)
    cluster.engines[1].incoming.peer_lost(3)
    await cluster.ticks(20)
    assert cluster.the_leader().broker_id == 1
