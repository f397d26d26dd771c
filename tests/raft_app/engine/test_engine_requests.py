"""Requests as an engine hands them to its replicas."""

from __future__ import annotations

import asyncio
import threading

import pytest

from myqueue.contract.errors import CommitTimeout, DiskFull, NoLeader, NotLeader, Overloaded
from raft_app.engine import engine
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def cluster():
    cluster = EngineCluster()
    await cluster.start_all()
    await cluster.create_group()
    yield cluster
    await cluster.stop_all()


async def test_refusals_name_the_leader_with_its_address_if_it_is_known(cluster):
    await cluster.until(lambda: cluster.engines[2].replicas[1].leader_broker_id == 1)
    follower = cluster.engines[2]
    for call in (
        follower.propose(1, ("append", "a"), timeout_ms=100),
        follower.read_barrier(1, timeout_ms=100),
        follower.transfer_leadership(1, 3, timeout_ms=100),
    ):
        with pytest.raises(NotLeader) as caught:
            await call
        assert caught.value.details["leader"]["address"] == "http://broker-1:80"
    del follower.peers[1]
    with pytest.raises(NotLeader) as caught:
        await follower.read_barrier(1, timeout_ms=100)
    assert caught.value.details["leader"] == {"broker_id": 1}


async def test_write_without_a_quorum_ends_in_time_and_unknown(cluster):
    cluster.hub.isolate(1, silently=True)
    leader = cluster.engines[1]
    with pytest.raises(CommitTimeout) as caught:
        await leader.propose(1, ("append", "a"), timeout_ms=20)
    assert not caught.value.outcome_known


def begin(engine, text, timeout_ms=10_000):
    """Begin to append, and return the future of what is told: (result, error)."""
    told = asyncio.get_running_loop().create_future()
    engine.begin(
        1, ("append", text), lambda *outcome: told.set_result(outcome), timeout_ms=timeout_ms
    )
    return told


async def test_what_begins_ends_as_what_is_proposed(cluster):
    leader = cluster.the_leader()
    async with asyncio.timeout(10):
        assert [await begin(leader, text) for text in ("a", "b")] == [(0, None), (1, None)]
        last_index = leader.replicas[1].node.last_index
        assert await begin(leader, "a") == (0, None)  # known already
        assert leader.replicas[1].node.last_index == last_index
        assert await leader.propose(1, ("append", "c"), timeout_ms=10_000) == 2


async def test_what_is_refused_before_it_begins_tells_nobody(cluster):
    await cluster.until(lambda: cluster.engines[2].replicas[1].leader_broker_id == 1)
    with pytest.raises(NotLeader):
        begin(cluster.engines[2], "a")
    leader = cluster.engines[1]
    leader.disk.full = True
    with pytest.raises(DiskFull):
        begin(leader, "a")


async def test_what_begins_without_a_quorum_ends_in_time_and_unknown(cluster):
    cluster.hub.isolate(1, silently=True)
    async with asyncio.timeout(10):
        result, error = await begin(cluster.engines[1], "a", timeout_ms=20)
    assert (result, type(error), error.outcome_known) == (None, CommitTimeout, False)


async def test_answer_that_is_known_needs_no_entry(cluster):
    await cluster.append("a")
    leader = cluster.the_leader()
    last_index = leader.replicas[1].node.last_index
    place = await leader.propose(1, ("append", "a"), timeout_ms=1_000)
    assert (place, leader.replicas[1].node.last_index) == (0, last_index)


async def test_damaged_batch_makes_the_replica_faulty_and_is_read_nowhere_here(cluster):
    await cluster.append("a")
    leader = cluster.the_leader()
    replica = leader.replicas[1]
    leader._tails.forget(1)
    index = replica.node.last_index
    cluster.storages[leader.broker_id].damage_entry(1, index)
    with pytest.raises((NoLeader, NotLeader)):
        await leader.read_batches(1, 0, 1, 1 << 20)
    assert "checksum" in replica.faulty


async def test_a_disk_that_hangs_holds_no_reader_for_longer_than_the_limit(cluster, monkeypatch):
    await cluster.append("a")
    leader = cluster.the_leader()
    storage, answers = cluster.storages[leader.broker_id], threading.Event()
    read = storage.read_batches

    def hang(*args):
        assert answers.wait(30)
        return read(*args)

    monkeypatch.setattr(storage, "read_batches", hang)
    monkeypatch.setattr(engine, "READ_TIMEOUT_S", 0.05)
    leader._tails.forget(1)
    try:
        async with asyncio.timeout(5):
            for _ in range(2 * leader.config.reader_threads):
                with pytest.raises(Overloaded) as refused:
                    await leader.read_batches(1, 0, 1, 1 << 20)
                assert refused.value.retry_after_ms
    finally:
        answers.set()
    monkeypatch.setattr(engine, "READ_TIMEOUT_S", 30)
    assert len(await leader.read_batches(1, 0, 1, 1 << 20)) == 1


async def test_who_still_reads_when_the_engine_stops_is_sent_elsewhere(cluster):
    await cluster.append("a")
    leader = cluster.the_leader()
    await cluster.stop(leader.broker_id)
    with pytest.raises(NoLeader, match="stops"):
        await leader.read_batches(1, 0, 1, 1 << 20)
