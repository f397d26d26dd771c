"""Other replicas for a group that goes on working, over memory twins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from myqueue.contract.errors import InvalidRequest, NotLeader, QueueError, StalePlacement
from raft_app.core.types import (
    AppendEntriesReply,
    HardState,
    Membership,
    PreVote,
    RaftMember,
)
from raft_app.engine.config import EngineConfig
from raft_app.engine.replica import REFUSALS_MIN
from raft_app.storage.protocol import Checkpoint
from tests.raft_app.engine.engine_harness import PACE_SECONDS, EngineCluster

pytestmark = pytest.mark.asyncio

CONFIG = EngineConfig(ticks_missed_max=1_000_000, log_tail_entries=10, checkpoint_entries=20)
FIRST = Membership(voters=tuple(RaftMember(10 + one, one) for one in (1, 2, 3)), version=1)
EMPTY = Checkpoint(0, 0, FIRST, 0, b"")


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster(5, config=CONFIG)
    await cluster.start_all()
    await cluster.create_group(brokers=(1, 2, 3))
    yield cluster
    await cluster.stop_all()


class Writer:
    """Appends one text after the other at whoever leads, until it is told to stop."""

    def __init__(self, cluster: EngineCluster) -> None:
        self.cluster = cluster
        self.texts: list[str] = []
        self.stopped = False

    async def run(self) -> list[str]:
        while not self.stopped:
            text = f"text {len(self.texts)}"
            leader = self.cluster.leader()
            try:
                if leader is None:
                    raise NotLeader
                await leader.propose(1, ("append", text), timeout_ms=2_000)
            except QueueError:
                await asyncio.sleep(PACE_SECONDS)
                continue
            self.texts.append(text)
        return self.texts


def members(cluster: EngineCluster) -> set[tuple[int, int]]:
    voters = cluster.the_leader().replicas[1].node.membership.voters
    return {(member.replica_id, member.broker_id) for member in voters}


async def test_replica_is_added_promoted_and_another_one_removed_under_load(cluster):
    writer = Writer(cluster)
    writing = asyncio.ensure_future(writer.run())
    await cluster.until(lambda: len(writer.texts) > 30)
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (14, 4)])
    await cluster.until(lambda: len(writer.texts) > 100)
    writer.stopped = True
    texts = await writing
    await cluster.until(lambda: all(cluster.values(one) == texts for one in (1, 2, 4)))
    assert members(cluster) == {(11, 1), (12, 2), (14, 4)}
    assert cluster.engines[4].replicas[1].role == "follower"


async def test_all_replicas_move_and_the_leader_hands_over_before_it_goes(cluster):
    writer = Writer(cluster)
    writing = asyncio.ensure_future(writer.run())
    await cluster.until(lambda: len(writer.texts) > 30)
    await cluster.join(4, 14)
    await cluster.join(5, 15)
    await cluster.change_replicas([(14, 4), (15, 5)])
    assert cluster.the_leader().broker_id in (4, 5)
    for broker_id in (1, 2, 3):
        await cluster.engines[broker_id].delete_replica(1)
    count = len(writer.texts)
    await cluster.until(lambda: len(writer.texts) > count + 20)
    writer.stopped = True
    texts = await writing
    await cluster.until(lambda: all(cluster.values(one) == texts for one in (4, 5)))


async def test_new_replica_that_is_not_there_yet_holds_nobody_up(cluster):
    target = (RaftMember(11, 1), RaftMember(12, 2), RaftMember(14, 4))
    cluster.the_leader().change_replicas(1, target, 2)
    for number in range(30):
        await cluster.append(f"text {number}")
    await cluster.ticks(3)
    change = cluster.the_leader().changes.find(1)
    assert change is not None
    assert not change.is_done
    assert "has not caught up" in change.waiting_for
    assert members(cluster) == {(11, 1), (12, 2), (13, 3)}
    await cluster.join(4, 14)
    await cluster.until(lambda: change.is_done)
    assert members(cluster) == {(11, 1), (12, 2), (14, 4)}
    assert change.is_done


async def test_change_goes_on_at_a_new_leader_when_it_is_asked_for_again(cluster):
    cluster.the_leader().change_replicas(
        1, (RaftMember(11, 1), RaftMember(12, 2), RaftMember(14, 4)), 2
    )
    await cluster.until(lambda: bool(cluster.the_leader().replicas[1].node.membership.learners))
    await cluster.stop(1)
    await cluster.until(lambda: cluster.leader() is not None)
    assert cluster.the_leader().changes.find(1) is None
    await cluster.start(1)
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (14, 4)])


async def test_learner_of_an_earlier_plan_is_removed(cluster):
    leader = cluster.the_leader()
    leader.change_replicas(1, (RaftMember(11, 1), RaftMember(12, 2), RaftMember(14, 4)), 2)
    await cluster.until(lambda: bool(leader.replicas[1].node.membership.learners))
    await cluster.change_replicas([(11, 1), (12, 2), (13, 3)], version=3)
    assert not cluster.the_leader().replicas[1].node.membership.learners


async def test_older_placement_and_impossible_targets_are_refused(cluster):
    leader = cluster.the_leader()
    replica = leader.replicas[1]
    own = (RaftMember(11, 1), RaftMember(12, 2), RaftMember(13, 3))
    leader.change_replicas(1, own, 3)
    with pytest.raises(StalePlacement):
        leader.change_replicas(1, own, 2)
    with pytest.raises(StalePlacement):
        leader.change_replicas(1, own[:2], 3)
    with pytest.raises(StalePlacement):
        leader.change_replicas(1, own, 0)
    for target in ((), (RaftMember(11, 1), RaftMember(14, 1)), (RaftMember(11, 2),)):
        with pytest.raises(InvalidRequest):
            leader.change_replicas(1, target, 4)
    await cluster.until(lambda: cluster.engines[2].replicas[1].leader_broker_id == 1)
    with pytest.raises(NotLeader) as caught:
        cluster.engines[2].change_replicas(1, own, 4)
    assert caught.value.details["leader"]["address"] == "http://broker-1:80"
    assert replica.node.membership.version == 1


async def test_removed_replica_neither_leads_nor_disturbs(cluster):
    await cluster.change_replicas([(11, 1), (12, 2)])
    term = cluster.the_leader().replicas[1].node.term
    await cluster.append("after")
    cluster.hub.isolate(1, silently=True)
    cluster.hub.isolate(2, silently=True)
    await cluster.ticks(120)
    assert not cluster.engines[3].replicas[1].is_leader
    cluster.hub.heal()
    await cluster.until(lambda: cluster.leader() is not None)
    await cluster.ticks(60)
    assert cluster.the_leader().broker_id in (1, 2)
    assert cluster.the_leader().replicas[1].node.term <= term + 4
    assert await cluster.append("again") == 1


async def test_replica_that_never_heard_of_its_removal_disturbs_nobody(cluster):
    """It asks for pre-votes until a manager has its broker drop it; here there is no manager."""
    await cluster.append("first")
    await cluster.until(lambda: len(cluster.values(3)) == 1)
    await cluster.join(4, 14)
    cluster.hub.isolate(3)
    await cluster.change_replicas([(11, 1), (12, 2), (14, 4)])
    await cluster.ticks(60)
    term, leader = cluster.the_leader().replicas[1].node.term, cluster.the_leader().broker_id
    removed = cluster.engines[3].replicas[1]
    asked: list[object] = []
    transport = cluster.engines[3].engine_loop._transport
    send = transport.send
    transport.send = lambda to, rpcs: (asked.extend(rpcs), send(to, rpcs))
    cluster.hub.heal()
    for number in range(20):
        await cluster.append(f"text {number}")
        await cluster.ticks(10)
    assert {type(rpc) for _, rpc in asked} == {PreVote}
    assert (cluster.the_leader().replicas[1].node.term, cluster.the_leader().broker_id) == (
        term,
        leader,
    )
    assert removed.node.membership.voter_ids == {11, 12, 13}
    await cluster.stop(leader)
    await cluster.until(lambda: cluster.leader() is not None)
    assert cluster.the_leader().broker_id != 3
    assert cluster.the_leader().replicas[1].node.term <= term + 2
    assert removed.node.term <= term + 2
    assert await cluster.append("after") == 21


async def test_faulty_replica_is_replaced_on_the_same_broker(cluster):
    for number in range(50):
        await cluster.append(f"text {number}")
    cluster.engines[3].engine_loop.make_faulty(cluster.engines[3].replicas[1], "a row is damaged")
    await cluster.append("more")
    target = [(11, 1), (12, 2), (14, 3)]
    members_wanted = tuple(RaftMember(*one) for one in target)
    cluster.the_leader().change_replicas(1, members_wanted, 2)
    await cluster.until(lambda: members(cluster) == {(11, 1), (12, 2)})
    await cluster.engines[3].delete_replica(1)
    await cluster.join(3, 14)
    await cluster.change_replicas(target)
    await cluster.until(lambda: cluster.values(3) == cluster.values(1))


async def test_leader_on_the_broker_of_the_new_replica_hands_over_first(cluster):
    await cluster.append("a")
    target = [(14, 1), (12, 2), (13, 3)]
    for _ in range(3):
        leader = cluster.the_leader()
        leader.change_replicas(1, tuple(RaftMember(*one) for one in target), 2)
        await cluster.ticks(40)
        await cluster.until(lambda: cluster.leader() is not None)
    assert members(cluster) == {(12, 2), (13, 3)}
    await cluster.engines[1].delete_replica(1)
    await cluster.join(1, 14)
    await cluster.change_replicas(target)
    await cluster.until(lambda: cluster.values(1) == ["a"])


async def test_follower_that_lost_what_it_had_acknowledged_is_faulty_and_is_replaced(cluster):
    for number in range(5):
        await cluster.append(f"text {number}")
    await cluster.until(lambda: len(cluster.values(3)) == 5)
    leader = cluster.the_leader()
    last_index = leader.replicas[1].node.last_index
    await cluster.stop(3)
    storage = cluster.storages[3]
    storage._replicas[1].hard_state = HardState(leader.replicas[1].node.term, 0, 0)
    storage._replicas[1].checkpoint = EMPTY
    for index in (last_index, last_index - 1):
        storage.lose_entry(1, index)
    await cluster.start(3)
    await cluster.until(lambda: bool(cluster.engines[3].replicas[1].faulty))
    assert f"had acknowledged {last_index}" in cluster.engines[3].replicas[1].faulty
    await cluster.until(lambda: bool(storage._replicas[1].faulty))
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (14, 4)])
    await cluster.until(lambda: len(cluster.values(4)) == 5)


async def test_follower_that_refuses_below_what_it_acknowledged_is_suspected(cluster):
    await cluster.append("text")
    leader = cluster.the_leader().replicas[1]
    await cluster.until(lambda: leader.node.status().progress[13].match == leader.node.last_index)
    refusal = AppendEntriesReply(
        11, 13, leader.node.term, False, leader.node.last_index, last_index=1
    )
    assert leader.suspects == {}
    for _ in range(REFUSALS_MIN):
        leader.step(3, refusal)
    assert "had acknowledged" in leader.suspects[13]
