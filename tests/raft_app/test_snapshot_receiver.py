"""Snapshots taken in by replicas that join or were away, over memory twins and over SQLite."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.storage_memory import MemoryStorage
from tests.raft_app.snapshot_harness import compacted, fill
from tests.raft_app.test_replica_changes import Writer

pytestmark = pytest.mark.asyncio


async def test_new_replica_gets_a_snapshot_while_writing_goes_on(short_logs):
    cluster = short_logs
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    writer = Writer(cluster)
    writing = asyncio.ensure_future(writer.run())
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (13, 3), (14, 4)])
    writer.stopped = True
    await writing
    assert cluster.engines[4].snapshots_received.received == 1
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert len(cluster.values(4)) >= 60
    batches = await cluster.engines[4].read_batches(1, 0, 60, 1 << 20)
    assert [batch.base_offset for batch in batches] == list(range(60))
    assert cluster.engines[4].groups[1].node.first_index > 50


async def test_snapshot_survives_a_restart_of_the_receiver(short_logs):
    cluster = short_logs
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (13, 3), (14, 4)])
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    await cluster.stop(4)
    await cluster.start(4)
    assert cluster.values(4) == cluster.values(1)[: len(cluster.values(4))]
    await cluster.append("after")
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert cluster.engines[4].snapshots_received.received == 0


async def test_wiped_replica_comes_back_under_a_new_id(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    await cluster.stop(3)
    cluster.storages[3] = MemoryStorage()
    # A wiped disk is a new broker; its address may be the old one.
    await cluster.start(3)
    await fill(cluster, 10, start=60)
    await cluster.join(3, 19)
    await cluster.change_replicas([(11, 1), (12, 2), (19, 3)])
    await cluster.until(lambda: cluster.values(3) == cluster.values(1))
