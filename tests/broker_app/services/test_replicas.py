"""Other replicas for a partition, and the end of those that it has removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.services.replicas import members_get, replica_discard, replicas_change
from http_base.cluster import MembersAnswer, ReplicaPlace, ReplicaTarget
from myqueue.contract.errors import InvalidRequest, NotLeader, PartitionNotFound, StalePlacement
from raft_app.core.types import Membership, RaftMember
from tests.broker_app.engine_twin import turns

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, LinkTwin, PeersTwin, ReplicaTwin


def target(**changes: Any) -> ReplicaTarget:
    return ReplicaTarget(
        **{
            "replicas": [ReplicaPlace(70, 1), ReplicaPlace(72, 2)],
            "epoch": 3,
            "version": 4,
            **changes,
        }
    )


def answer(*replicas: ReplicaPlace, learners: tuple[ReplicaPlace, ...] = ()) -> MembersAnswer:
    return MembersAnswer(group_id=7, version=4, replicas=[*replicas], learners=[*learners])


async def test_change_begins_and_asks_for_unknown_brokers(
    runtime: BrokerRuntime, replica: ReplicaTwin, link: LinkTwin
) -> None:
    change = await replicas_change(runtime=runtime, group_id=7, target=target())
    assert change.target == (RaftMember(70, 1), RaftMember(72, 2))
    assert link.heartbeats == 0
    again = target(replicas=[ReplicaPlace(70, 1), ReplicaPlace(79, 9)])
    await replicas_change(runtime=runtime, group_id=7, target=again)
    assert link.heartbeats == 1
    assert runtime.epoch == 3


async def test_change_that_cannot_be_begins_nothing(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    with pytest.raises(InvalidRequest):
        await replicas_change(
            runtime=runtime, group_id=7, target=target(replicas=[ReplicaPlace(0, 1)])
        )
    with pytest.raises(PartitionNotFound):
        await replicas_change(runtime=runtime, group_id=9, target=target())
    with pytest.raises(StalePlacement):
        await replicas_change(runtime=runtime, group_id=7, target=target(epoch=2))
    engine.lose(replica)
    with pytest.raises(NotLeader):
        await replicas_change(runtime=runtime, group_id=7, target=target())
    assert engine.changes == {}


async def test_members_under_way_count_as_members(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    replica.membership = Membership(
        voters=(RaftMember(70, 1),), learners=(RaftMember(72, 2),), version=2
    )
    members = await members_get(runtime=runtime, group_id=7)
    assert members.version == 1, "of what is applied"
    assert members.names(70)
    assert members.names(72)
    assert not members.names(73)


async def test_replica_goes_when_it_has_applied_that_it_is_removed(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin, peers: PeersTwin
) -> None:
    replica.applied.is_removed = True
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(runtime.long_polls.wait(7, 0, loop.time() + 60))
    await turns()
    assert await replica_discard(runtime=runtime, group_id=7, replica_id=70, ask=())
    assert not engine.replicas
    assert peers.asked == []
    assert await waiting, "to look again, and find nothing"


async def test_leader_is_asked_where_the_replica_does_not_know(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin, peers: PeersTwin
) -> None:
    replica.leader_broker_id = 3
    replica.membership = Membership(voters=(RaftMember(70, 1), RaftMember(74, 4)), version=1)
    with pytest.raises(StalePlacement):
        await replica_discard(runtime=runtime, group_id=7, replica_id=70, ask=[2, 0, 1])
    assert peers.asked == [2, 3, 4], "each but this broker, once"
    for still in (
        answer(ReplicaPlace(70, 1)),
        answer(ReplicaPlace(72, 2), learners=(ReplicaPlace(70, 1),)),
    ):
        peers.answers[4] = still
        with pytest.raises(StalePlacement):
            await replica_discard(runtime=runtime, group_id=7, replica_id=70, ask=[2])
    assert engine.replicas
    peers.answers[4] = answer(ReplicaPlace(74, 4))
    assert await replica_discard(runtime=runtime, group_id=7, replica_id=70, ask=[2])
    assert not engine.replicas


async def test_another_replica_of_the_group_is_left_alone(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    replica.applied.is_removed = True
    assert not await replica_discard(runtime=runtime, group_id=7, replica_id=71, ask=())
    assert not await replica_discard(runtime=runtime, group_id=9, replica_id=70, ask=())
    assert engine.replicas
