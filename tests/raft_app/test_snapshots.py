"""Snapshots between engines, over memory twins and over SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from raft_app.engine_config import EngineConfig
from raft_app.storage_memory import MemoryStorage
from raft_app.storage_sqlite import SqliteStorage
from tests.raft_app.engine_harness import EngineCluster
from tests.raft_app.test_replica_changes import Writer

pytestmark = pytest.mark.asyncio

CONFIG = EngineConfig(
    ticks_missed_max=1_000_000,
    log_tail_entries=5,
    checkpoint_entries=10,
    log_keep_bytes=1,
    snapshot_part_bytes=400,
    snapshot_timeout_ms=3_000,
)


@pytest.fixture(params=["memory", "sqlite"])
async def cluster(request, tmp_path, django_db_blocker) -> AsyncIterator[EngineCluster]:
    def make_storage(broker_id: int):
        if request.param == "memory":
            return MemoryStorage()
        return SqliteStorage(tmp_path / str(broker_id))

    with django_db_blocker.unblock():
        cluster = EngineCluster(4, config=CONFIG, make_storage=make_storage)
        await cluster.start_all()
        await cluster.create_group(brokers=(1, 2, 3))
        yield cluster
        await cluster.stop_all()


@pytest.fixture
async def twins() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster(4, config=CONFIG)
    await cluster.start_all()
    await cluster.create_group(brokers=(1, 2, 3))
    yield cluster
    await cluster.stop_all()


async def fill(cluster: EngineCluster, count: int, start: int = 0) -> list[str]:
    texts = [f"text {number}" for number in range(start, start + count)]
    for text in texts:
        await cluster.append(text)
    return texts


async def compacted(cluster: EngineCluster, *broker_ids: int) -> None:
    """Wait until the logs of some brokers begin above their first entries."""

    def is_done() -> bool:
        for engine in cluster.engines.values():
            engine.request_checkpoints()
        groups = [cluster.engines[one].groups[1] for one in broker_ids]
        return all(group.node.first_index > 10 for group in groups)

    await cluster.until(is_done)


def sent_rows(engine) -> list[int]:
    """Return the list in which the offsets of all rows that an engine sends will be noted."""
    offsets: list[int] = []
    read_rows = engine._storage.read_rows

    def noted(group_id, offset, high_watermark, max_bytes):
        rows = read_rows(group_id, offset, high_watermark, max_bytes)
        offsets.extend(row.base_offset for row in rows)
        return rows

    engine._storage.read_rows = noted
    return offsets


async def test_new_replica_gets_a_snapshot_while_writing_goes_on(cluster):
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


async def test_follower_that_was_away_gets_only_what_it_lacks(cluster):
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    await cluster.stop(3)
    texts = await fill(cluster, 40, start=30)
    await compacted(cluster, 1, 2)
    await cluster.until(lambda: cluster.the_leader().groups[1].node.first_index > 40)
    offsets = sent_rows(cluster.the_leader())
    await cluster.start(3)
    await cluster.until(lambda: cluster.values(3)[-1:] == texts[-1:])
    assert cluster.values(3) == cluster.values(1)
    assert cluster.engines[3].snapshots_received.received == 1
    assert offsets
    assert min(offsets) >= 30


async def test_snapshot_survives_a_restart_of_the_receiver(cluster):
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


async def stop_in_the_middle(cluster: EngineCluster) -> tuple[object, list[int]]:
    """Let a new replica get part of a snapshot, then cut it off; return it and what was sent."""
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    leader = cluster.the_leader()
    offsets = sent_rows(leader)
    group = await cluster.join(4, 14)
    leader.change_replicas(1, (*leader.groups[1].membership.voters, _member(14, 4)), 2)
    await cluster.until(lambda: (group.install_offset or 0) > 10)
    cluster.hub.isolate(4)
    await cluster.until(lambda: not cluster.engines[4].snapshots_received._groups)
    return group, offsets


def _member(replica_id: int, broker_id: int):
    from raft_app.core.types import Member

    return Member(replica_id, broker_id)


async def test_cut_in_the_middle_accepts_no_partial_state_and_goes_on_later(cluster):
    group, offsets = await stop_in_the_middle(cluster)
    reached = group.install_offset
    assert group.is_installing
    assert not group.hears_leader
    assert cluster.values(4) == []
    assert group.applied_index == 0
    sent = len(offsets)
    cluster.hub.heal()
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert min(offsets[sent:]) == reached
    assert not group.is_installing
    assert group.hears_leader


async def test_restart_in_the_middle_goes_on_where_it_was(cluster):
    group, offsets = await stop_in_the_middle(cluster)
    reached, sent = group.install_offset, len(offsets)
    await cluster.stop(4)
    cluster.hub.heal()
    await cluster.start(4)
    group = cluster.engines[4].groups[1]
    assert group.is_installing
    assert group.install_offset == reached
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert min(offsets[sent:]) == reached


async def test_new_leader_goes_on_with_the_snapshot_of_the_old_one(twins):
    cluster = twins
    group, _ = await stop_in_the_middle(cluster)
    reached = group.install_offset
    old = cluster.the_leader().broker_id
    await cluster.stop(old)
    offsets = [sent_rows(engine) for engine in cluster.engines.values()]
    cluster.hub.heal()
    await cluster.until(lambda: cluster.leader() is not None)
    await fill(cluster, 20, start=60)
    other = cluster.the_leader().broker_id
    await cluster.until(lambda: cluster.values(4) == cluster.values(other))
    assert min(offset for one in offsets for offset in one) == reached


async def test_follower_cut_off_before_the_first_row_goes_on_with_its_log(twins):
    cluster = twins
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    await cluster.stop(3)
    await fill(cluster, 40, start=30)
    await compacted(cluster, 1, 2)
    await cluster.until(lambda: cluster.the_leader().groups[1].node.first_index > 40)
    leader = cluster.the_leader()

    async def refuse(*_):
        from raft_app.snapshot_stream import SnapshotLost

        raise SnapshotLost("on purpose")

    send_rows, leader.snapshots_sent._send_rows = leader.snapshots_sent._send_rows, refuse
    await cluster.start(3)
    group = cluster.engines[3].groups[1]
    await cluster.ticks(40)
    assert group.install_offset is None
    assert not group.is_installing
    leader.snapshots_sent._send_rows = send_rows
    await cluster.until(lambda: cluster.values(3) == cluster.values(1))


async def test_wiped_replica_comes_back_under_a_new_id(twins):
    cluster = twins
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


async def test_messages_let_go_are_deleted_on_every_replica(cluster):
    await fill(cluster, 40)
    await cluster.append("cut 30", kind="add")
    leader = cluster.the_leader().broker_id

    def is_deleted(broker_id: int) -> bool:
        engine = cluster.engines[broker_id]
        engine.request_checkpoints()
        return engine.groups[1].retained.cut_log_start == 30

    await cluster.until(lambda: all(is_deleted(one) for one in (1, 2, 3)))
    for broker_id in (1, 2, 3):
        storage = cluster.storages[broker_id]
        read = cluster.engines[broker_id]._context.read
        assert await read(storage.read_batches, 1, 10, 40, 1 << 20) == []
        rows = await read(storage.read_rows, 1, 30, 40, 1 << 20)
        assert [row.base_offset for row in rows] == list(range(30, 40))
    await cluster.stop(leader)
    await cluster.start(leader)
    await cluster.until(lambda: cluster.leader() is not None)
    assert await cluster.append("after") == 41


async def test_new_replica_does_not_get_messages_that_are_gone(cluster):
    await fill(cluster, 40)
    await cluster.append("cut 30", kind="add")
    await compacted(cluster, 1, 2, 3)
    offsets = sent_rows(cluster.the_leader())
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (13, 3), (14, 4)])
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert offsets
    assert min(offsets) == 30


async def test_damaged_row_makes_its_sender_faulty_and_another_one_sends(twins):
    cluster = twins
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    leader = cluster.the_leader()
    cluster.storages[leader.broker_id].damage_entry(1, 20)
    await cluster.join(4, 14)
    leader.change_replicas(1, (*leader.groups[1].membership.voters, _member(14, 4)), 2)
    await cluster.until(lambda: bool(leader.groups[1].faulty))
    await cluster.until(lambda: cluster.leader() not in (None, leader))
    other = cluster.the_leader().broker_id
    await cluster.until(lambda: cluster.values(4) == cluster.values(other))


async def test_scrub_finds_a_damaged_row_that_nobody_reads(twins):
    cluster = twins
    await fill(cluster, 60)
    engine = cluster.engines[2]
    await cluster.until(lambda: len(cluster.values(2)) == 60)
    engine.request_scrub()
    engine.request_scrub()
    await cluster.until(lambda: engine.scrubber.passes == 1)
    assert engine.scrubber.rows >= 60
    assert not engine.groups[1].faulty
    cluster.storages[2].damage_entry(1, 20)
    engine.request_scrub()
    await cluster.until(lambda: bool(engine.groups[1].faulty))
    assert "checksum" in engine.groups[1].faulty
    assert await cluster.append("a") == 60
