"""The engine over the in-memory storage and transport."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from myqueue.contract.errors import (
    CommitTimeout,
    DiskFull,
    InvalidRequest,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    StalePlacement,
)
from raft_app.core.types import Heartbeat, Membership, RaftMember
from raft_app.engine.config import EngineConfig
from raft_app.storage.protocol import GroupSpec
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster()
    await cluster.start_all()
    yield cluster
    await cluster.stop_all()


async def test_first_replica_of_a_new_group_leads_without_waiting_for_a_timeout(cluster):
    await cluster.create_group(first=2)
    assert cluster.the_leader().broker_id == 2


async def test_the_log_says_who_leads_and_at_debug_level_what_became_of_each_entry(cluster, caplog):
    caplog.set_level(logging.INFO, "raft_app")
    await cluster.create_group(first=2)
    leader = cluster.the_leader()
    label, term = leader.replicas[1].label, leader.replicas[1].node.term
    await cluster.append("a")
    assert caplog.messages == [f"{label}: this broker leads, term {term}"]
    # A replica that is behind would store both entries at once.
    await cluster.until(lambda: all(cluster.values(one) == ["a"] for one in (1, 2, 3)))
    caplog.clear()
    caplog.set_level(logging.DEBUG, "raft_app")
    await cluster.append("b")
    index = leader.replicas[1].node.last_index
    entries = f"{label}: entries {index} to {index} are"
    stored = f"{entries} stored, the last one of term {term}"

    def all_told() -> bool:
        told = Counter(caplog.messages)
        return told[stored] == told[f"{entries} applied"] == 3

    await cluster.until(all_told)
    proposed = f"{label}: entry {index} of term {term} is proposed, a tuple"
    assert caplog.messages.count(proposed) == 1


async def test_proposal_is_applied_on_every_replica(cluster):
    await cluster.create_group()
    assert [await cluster.append(text) for text in "abc"] == [0, 1, 2]
    await cluster.until(lambda: all(cluster.values(one) == ["a", "b", "c"] for one in (1, 2, 3)))


async def test_proposals_of_one_turn_share_one_transaction(cluster):
    await cluster.create_group()
    leader = cluster.the_leader()
    before = cluster.storages[leader.broker_id].transactions
    texts = [f"text {number}" for number in range(100)]
    places = await asyncio.gather(*(cluster.append(text) for text in texts))
    assert places == list(range(100))
    assert cluster.storages[leader.broker_id].transactions - before <= 3


async def test_follower_refuses_a_proposal_and_names_the_leader(cluster):
    await cluster.create_group()
    await cluster.until(lambda: cluster.engines[2].replicas[1].leader_broker_id == 1)
    with pytest.raises(NotLeader) as caught:
        await cluster.engines[2].propose(1, ("append", "a"), timeout_ms=100)
    assert caught.value.details["leader"] == {"broker_id": 1, "address": "http://broker-1:80"}


async def test_unknown_group_is_refused(cluster):
    with pytest.raises(PartitionNotFound):
        await cluster.engines[1].propose(5, ("append", "a"), timeout_ms=100)


async def test_what_the_state_machine_refuses_reaches_the_caller(cluster):
    await cluster.create_group()
    with pytest.raises(InvalidRequest):
        await cluster.append("refused")
    assert await cluster.append("a") == 0


async def test_repeated_request_joins_the_entry_that_is_under_way(cluster):
    await cluster.create_group()
    places = await asyncio.gather(*(cluster.append("same") for _ in range(5)))
    assert places == [0] * 5
    assert await cluster.append("same") == 0
    assert cluster.values(1) == ["same"]


async def test_no_quorum_leaves_the_outcome_unknown(cluster):
    await cluster.create_group()
    cluster.hub.isolate(1, silently=True)
    with pytest.raises(CommitTimeout) as caught:
        await cluster.engines[1].propose(1, ("append", "a"), timeout_ms=50)
    assert not caught.value.outcome_known


async def test_old_leader_answers_not_leader_when_its_entry_was_replaced(cluster):
    await cluster.create_group()
    cluster.hub.isolate(1)
    lost = asyncio.ensure_future(
        cluster.engines[1].propose(1, ("append", "lost"), timeout_ms=60_000)
    )
    others = (2, 3)
    await cluster.until(lambda: any(cluster.engines[one].replicas[1].serves for one in others))
    successor = next(one for one in others if cluster.engines[one].replicas[1].serves)
    await cluster.engines[successor].propose(1, ("append", "kept"), timeout_ms=5_000)
    cluster.hub.heal()
    await cluster.until(lost.done)
    with pytest.raises((NotLeader, NoLeader)):
        lost.result()
    await cluster.until(lambda: cluster.values(1) == ["kept"])


async def test_old_leader_answers_success_when_its_entry_was_kept(cluster):
    await cluster.create_group()
    # Its appends arrive, the acknowledgements do not: the successor has the entry.
    cluster.hub.cut(2, 1, silently=True)
    cluster.hub.cut(3, 1, silently=True)
    kept = asyncio.ensure_future(
        cluster.engines[1].propose(1, ("append", "kept"), timeout_ms=60_000)
    )
    await cluster.until(lambda: not cluster.engines[1].replicas[1].is_leader)
    cluster.hub.heal()
    await cluster.until(kept.done)
    assert kept.result() == 0


async def test_broken_connection_replaces_the_leader_long_before_the_timeout(cluster):
    await cluster.create_group()
    await cluster.append("a")
    cluster.hub.isolate(1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    # Few ticks pass: one every 50 ms, as in a real broker.
    while not any(cluster.engines[one].replicas[1].serves for one in (2, 3)):
        assert loop.time() - started < 1.0, "no new leader within the shortest election timeout"
        for engine in cluster.engines.values():
            engine.post_tick()
        await asyncio.sleep(0.05)


async def test_one_broken_connection_disturbs_nobody(cluster):
    await cluster.create_group()
    term = cluster.the_leader().replicas[1].node.term
    cluster.hub.cut(1, 2)
    for _ in range(100):
        for engine in cluster.engines.values():
            engine.post_tick()
        await asyncio.sleep(0.005)
    assert cluster.the_leader().broker_id == 1
    assert cluster.the_leader().replicas[1].node.term == term


async def test_read_barrier_sees_what_was_acknowledged_before(cluster):
    await cluster.create_group()
    await cluster.append("a")
    leader = cluster.the_leader()
    await leader.read_barrier(1, timeout_ms=1_000)
    assert cluster.values(leader.broker_id) == ["a"]


async def test_read_barrier_fails_on_a_follower(cluster):
    await cluster.create_group()
    await cluster.until(lambda: cluster.engines[3].replicas[1].leader_broker_id == 1)
    with pytest.raises(NotLeader):
        await cluster.engines[3].read_barrier(1, timeout_ms=100)


async def test_read_barrier_of_a_cut_off_leader_is_never_confirmed(cluster):
    await cluster.create_group()
    cluster.hub.isolate(1, silently=True)
    with pytest.raises((CommitTimeout, NoLeader)):
        await cluster.engines[1].read_barrier(1, timeout_ms=50)


async def test_batches_are_read_from_memory_and_from_storage(cluster):
    await cluster.create_group()
    for number in range(10):
        await cluster.append(f"text {number}")
    leader = cluster.the_leader()
    from_memory = await leader.read_batches(1, 3, 10, 1 << 20)
    leader._tails.forget(1)
    from_storage = await leader.read_batches(1, 3, 10, 1 << 20)
    assert from_memory == from_storage
    assert [batch.base_offset for batch in from_memory] == list(range(3, 10))


async def test_restart_keeps_what_was_acknowledged(cluster):
    await cluster.create_group()
    for text in "abc":
        await cluster.append(text)
    await cluster.stop_all()
    await cluster.start_all()
    await cluster.until(lambda: cluster.leader() is not None)
    assert await cluster.append("d") == 3
    await cluster.until(lambda: all(cluster.values(one) == list("abcd") for one in (1, 2, 3)))


async def test_crash_of_one_broker_loses_nothing(cluster):
    await cluster.create_group()
    await cluster.append("a")
    old = cluster.the_leader().broker_id
    await cluster.stop(old)
    cluster.storages[old].crash()
    await cluster.until(lambda: cluster.leader() is not None)
    await cluster.append("b")
    await cluster.start(old)
    await cluster.until(lambda: cluster.values(old) == ["a", "b"])


async def test_checkpoint_shortens_what_a_restart_applies():
    cluster = EngineCluster(
        1, config=EngineConfig(checkpoint_entries=5, ticks_missed_max=1_000_000)
    )
    await cluster.start_all()
    await cluster.create_group()
    for number in range(20):
        await cluster.append(f"text {number}", kind="add")
    engine = cluster.engines[1]
    engine.request_checkpoints()
    await cluster.append("after", kind="add")
    await cluster.stop_all()
    [stored] = _stored_groups(cluster, 1)
    assert stored.checkpoint.applied_index == engine.replicas[1].applied.index
    await cluster.start_all()
    await cluster.until(lambda: cluster.leader() is not None)
    assert len(cluster.values(1)) == 21
    await cluster.stop_all()


def _stored_groups(cluster, broker_id):
    storage = cluster.storages[broker_id]
    storage.open()
    replicas = storage.load_groups()
    storage.close()
    return replicas


async def test_follower_that_missed_much_catches_up_from_storage():
    from raft_app.core.config import RaftConfig

    raft = RaftConfig(max_recent_bytes=1, max_append_bytes=256)
    config = EngineConfig(raft=raft, ticks_missed_max=1_000_000)
    cluster = EngineCluster(config=config)
    await cluster.start_all()
    await cluster.create_group()
    await cluster.stop(3)
    texts = [f"text {number}" for number in range(300)]
    for text in texts:
        await cluster.append(text)
    await cluster.start(3)
    await cluster.until(lambda: cluster.values(3) == texts)
    await cluster.stop_all()


async def test_leadership_is_handed_to_a_named_broker(cluster):
    await cluster.create_group()
    await cluster.append("a")
    await cluster.engines[1].transfer_leadership(1, 3, timeout_ms=2_000)
    await cluster.until(lambda: cluster.leader() is not None)
    assert cluster.the_leader().broker_id == 3


async def test_leadership_cannot_be_handed_to_a_stranger(cluster):
    await cluster.create_group()
    with pytest.raises(StalePlacement):
        await cluster.engines[1].transfer_leadership(1, 9, timeout_ms=2_000)


async def test_stopping_broker_hands_over_all_its_leaderships(cluster):
    for group_id in (1, 2, 3):
        await cluster.create_group(group_id, first=1)
    assert await cluster.engines[1].hand_over_all(timeout_ms=2_000) == 0
    assert not any(replica.is_leader for replica in cluster.engines[1].replicas.values())


async def test_group_is_created_once_and_a_removed_replica_never_returns(cluster):
    await cluster.create_group()
    engine = cluster.engines[1]
    members = engine.replicas[1].node.membership
    await engine.create_replica(GroupSpec(1, 11, "logs", 0), members, campaign=False)
    await engine.delete_replica(1)
    assert 1 not in engine.replicas
    with pytest.raises(StalePlacement):
        await engine.create_replica(GroupSpec(1, 11, "logs", 0), members, campaign=False)
    assert cluster.storages[1].load_groups() == []


async def test_rpc_for_a_group_that_is_not_here_is_dropped_and_counted(cluster):
    await cluster.create_group()
    await cluster.engines[2].delete_replica(1)
    await cluster.until(lambda: cluster.engines[2].incoming.unknown_groups > 0)
    assert await cluster.append("a") == 0


async def test_failed_write_stops_everything_at_once(cluster):
    await cluster.create_group()
    leader = cluster.the_leader()
    storage = cluster.storages[leader.broker_id]

    def fail(operations):
        raise OSError("the disk is gone")

    storage.write = fail
    waiting = asyncio.ensure_future(leader.propose(1, ("append", "a"), timeout_ms=60_000))
    with pytest.raises(OSError, match="the disk is gone"):
        await leader.failure
    await cluster.stop(leader.broker_id)
    with pytest.raises(CommitTimeout):
        await waiting


async def test_silence_of_the_scheduler_stops_the_broker():
    cluster = EngineCluster(1, config=EngineConfig(tick_ms=1, ticks_missed_max=20))
    engine = await cluster.start(1)
    with pytest.raises(RuntimeError, match="no tick"):
        await asyncio.wait_for(engine.failure, 10)
    await cluster.stop(1)


async def test_full_disk_refuses_writes_before_they_are_proposed(cluster):
    await cluster.create_group()
    leader = cluster.the_leader()
    last_index = leader.replicas[1].node.last_index
    leader.disk.full = True
    with pytest.raises(DiskFull):
        await cluster.append("a")
    assert leader.replicas[1].node.last_index == last_index
    leader.disk.full = False
    assert await cluster.append("a") == 0


async def test_listeners_hear_of_leadership_and_of_applied_entries(cluster):
    applied, leaderships = [], []
    cluster.engines[1].on_applied.append(lambda replica: applied.append(replica.group_id))
    cluster.engines[1].on_leadership.append(
        lambda replica: leaderships.append((replica.is_leader, replica.serves))
    )
    await cluster.create_group()
    await cluster.append("a")
    assert set(applied) == {1}
    assert leaderships[-1] == (True, True)


async def test_inconsistent_entry_makes_this_replica_faulty_and_no_other(cluster):
    from raft_app.statemachine import InconsistentEntry

    await cluster.create_group()
    replica = cluster.engines[2].replicas[1]

    def refuse(entry):
        raise InconsistentEntry("it does not fit")

    replica.state_machine.apply = refuse
    await cluster.append("a")
    await cluster.until(lambda: bool(replica.faulty))
    assert await cluster.append("b") == 1
    assert not replica.hears_leader
    await cluster.stop(2)
    [stored] = _stored_groups(cluster, 2)
    assert "does not fit" in stored.faulty


async def test_a_hundred_idle_groups_cost_one_send_per_peer_and_tick(cluster):
    members = tuple(RaftMember(one, one) for one in (1, 2, 3))
    for group_id in range(1, 101):
        for broker_id, engine in reversed(cluster.engines.items()):
            await engine.create_replica(
                GroupSpec(group_id, broker_id, "logs", group_id - 1),
                Membership(voters=members, version=1),
                campaign=broker_id == 1,
            )
    await cluster.until(
        lambda: all(replica.serves for replica in cluster.engines[1].replicas.values())
    )
    # What is left of the elections may still be sent; the heartbeats are what a tick costs.
    sends = []
    transport = cluster.engines[1]._transport
    original = transport.send

    def send(broker_id, rpcs):
        heartbeats = sum(isinstance(rpc, Heartbeat) for _, rpc in rpcs)
        if heartbeats:
            sends.append(heartbeats)
        original(broker_id, rpcs)

    transport.send = send
    for _ in range(4):
        cluster.engines[1].post_tick()
        await asyncio.sleep(0.01)
    assert sum(sends) == 100 * 2 * 4 // cluster.config.raft.heartbeat_ticks
    assert len(sends) <= 2 * 4


async def test_ticks_that_wait_for_the_loop_are_one(cluster):
    engine, ticks = cluster.engines[1], []
    engine.changes.tick = lambda: ticks.append(1)
    for count in (1, 2):
        for _ in range(5):
            engine.post_tick()
        await asyncio.sleep(0.01)
        assert len(ticks) == count


async def test_what_retention_lets_go_leaves_memory_on_every_replica(cluster):
    await cluster.create_group()
    for number in range(20):
        await cluster.append(f"text {number}")
    tails = [engine._tails for engine in cluster.engines.values()]
    await cluster.until(lambda: all(tail.size_bytes for tail in tails))
    await cluster.append("cut 20", kind="add")
    await cluster.until(lambda: [tail.size_bytes for tail in tails] == [0, 0, 0])
