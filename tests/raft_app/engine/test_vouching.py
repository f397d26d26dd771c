"""What was restored from an older copy: held back until it is known, and then out of service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy

import pytest

from http_base.kept import Kept
from raft_app.core.types import RequestVote
from raft_app.engine.config import EngineConfig
from raft_app.engine.vouching import Remembered
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio

LONG_MS = 3_600_000
CONFIG = EngineConfig(ticks_missed_max=1_000_000, vouch_wait_ms=LONG_MS)


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster(3, config=CONFIG)
    await cluster.start_all()
    await cluster.create_group()
    yield cluster
    await cluster.stop_all()


def node(cluster, broker_id):
    return cluster.engines[broker_id].replicas[1].node


async def restart(cluster, broker_id):
    await cluster.stop(broker_id)
    return await cluster.start(broker_id)


async def stop_and_put_back(cluster):
    """Stop all brokers and put the third's folder back; return what it had kept by then."""
    older = deepcopy_storage(cluster, 3)
    for number in range(5):
        await cluster.append(f"text {number}")
    await cluster.until(lambda: len(cluster.values(3)) == 5)
    kept = cluster.engines[3].replicas[1].kept
    for broker_id in (1, 2, 3):
        await cluster.stop(broker_id)
    cluster.storages[3] = older
    return kept


async def test_what_is_new_votes_at_once_and_what_was_stored_waits(cluster):
    assert all(node(cluster, one).may_vote for one in (1, 2, 3))
    for broker_id in (1, 2, 3):
        await cluster.stop(broker_id)
    for broker_id in (1, 2, 3):
        await cluster.start(broker_id)
    await cluster.ticks(100)
    assert cluster.leader() is None
    for engine in cluster.engines.values():
        assert engine.vouching.is_waiting
        engine.vouching.judge(())
        assert not engine.vouching.is_waiting
    await cluster.until(lambda: cluster.leader() is not None)


async def test_what_waits_follows_and_counts_for_no_commit_or_read_until_somebody_vouches(cluster):
    await restart(cluster, 3)
    await cluster.stop(2)
    appending = asyncio.ensure_future(cluster.append("a"))
    reading = asyncio.ensure_future(cluster.engines[1].read_barrier(1, timeout_ms=600_000))
    await cluster.until(lambda: node(cluster, 3).last_index == node(cluster, 1).last_index)
    await cluster.ticks(3 * cluster.config.raft.election_timeout_ticks)
    assert not appending.done()
    assert not reading.done()
    assert node(cluster, 1).is_leader, "whoever waits is there"
    cluster.engines[3].vouching.judge(())
    await cluster.until(lambda: appending.done() and reading.done())
    assert appending.result() == 0


async def test_after_the_wait_it_takes_part_as_it_is(cluster):
    cluster.config = EngineConfig(ticks_missed_max=1_000_000, vouch_wait_ms=1)
    for broker_id in (1, 2, 3):
        await cluster.stop(broker_id)
    for broker_id in (1, 2, 3):
        await cluster.start(broker_id)
    await cluster.until(lambda: cluster.leader() is not None)


async def test_an_older_copy_is_faulty_before_it_votes_and_stays_so(cluster):
    kept = await stop_and_put_back(cluster)
    engine = await cluster.start(3)
    replica = engine.replicas[1]
    asked = RequestVote(13, 12, replica.node.term + 1, 9, replica.node.term)
    replica.step(2, asked)
    assert replica.node.vote != 12, "nothing says yet that it has all"
    engine.vouching.judge([Remembered(1, 13, kept)])
    assert "restored from an older copy" in replica.faulty
    await cluster.until(lambda: bool(cluster.storages[3]._replicas[1].faulty))
    engine = await restart(cluster, 3)
    assert "restored from an older copy" in engine.replicas[1].faulty


async def test_who_has_what_is_remembered_or_was_another_replica_is_sound(cluster):
    await cluster.append("a")
    engine = await restart(cluster, 3)
    replica = engine.replicas[1]
    more = replica.node.last_index + 1
    remembered = [
        Remembered(1, 13, replica.kept),
        Remembered(1, 99, Kept(1, more)),
        Remembered(2, 13, Kept(1, more)),
    ]
    engine.vouching.judge(remembered)
    assert (replica.faulty, replica.node.may_vote) == ("", True)


async def test_a_term_that_was_forgotten_is_a_vote_that_may_have_been(cluster):
    replica = cluster.engines[3].replicas[1]
    kept = Kept(replica.kept.term + 1, replica.kept.index)
    cluster.engines[3].vouching.judge([Remembered(1, 13, kept)])
    assert "restored from an older copy" in replica.faulty


async def test_what_it_hears_after_the_start_neither_hides_nor_adds_what_it_lacks(cluster):
    kept = await stop_and_put_back(cluster)
    for broker_id in (1, 2, 3):
        await cluster.start(broker_id)
    engine = cluster.engines[3]
    replica = engine.replicas[1]
    found = replica.found
    for broker_id in (1, 2):
        cluster.engines[broker_id].vouching.judge(())
    await cluster.until(lambda: cluster.leader() is not None)
    await cluster.append("later")
    await cluster.until(lambda: replica.node.last_index >= kept.index)
    assert replica.found == found
    assert not found.lacks(replica.kept), "sound ones too would be remembered with too much"
    engine.vouching.judge([Remembered(1, 13, kept)])
    assert "restored from an older copy" in replica.faulty


async def test_only_what_is_durable_is_kept(cluster):
    await cluster.append("a")
    await cluster.until(lambda: cluster.values(3) == ["a"])
    replica = cluster.engines[3].replicas[1]
    before = replica.kept
    replica.node.step(RequestVote(13, 12, replica.node.term + 5, 0, 0, True))
    assert replica.node.term == before.term + 5
    assert replica.kept == before


def deepcopy_storage(cluster, broker_id):
    """Return a copy of what a broker has stored, as a copied folder is one."""
    storage = cluster.storages[broker_id]
    with storage._lock:
        lock, storage._lock = storage._lock, None
        try:
            copied = deepcopy(storage)
        finally:
            storage._lock = lock
    copied._lock = type(lock)()
    copied.crash()
    return copied
