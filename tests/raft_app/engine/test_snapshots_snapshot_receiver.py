"""Snapshots taken in by replicas that join or were away, over memory twins and over SQLite."""

from __future__ import annotations

import asyncio

import pytest

from raft_app.core.types import Membership, RaftMember, SnapshotMeta
from raft_app.transport.snapshot_stream import (
    SnapshotAnswer,
    SnapshotEnd,
    SnapshotLost,
    SnapshotOffer,
    SnapshotState,
)
from tests.doubles.storage import MemoryStorage
from tests.raft_app.engine.snapshot_harness import compacted, fill
from tests.raft_app.engine.test_membership_replica_changes import Writer

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
    assert cluster.engines[4].replicas[1].node.first_index > 50


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


def offer(cluster, **changes) -> SnapshotOffer:
    """Return an offer of the leader to replica 13 that covers more than it has."""
    leader = cluster.the_leader().replicas[1]
    meta = SnapshotMeta(10_000, leader.node.term, leader.node.membership, 1)
    fields = {
        "group_id": 1,
        "to": 13,
        "sender": leader.spec.replica_id,
        "term": leader.node.term,
        "meta": meta,
        "log_start_offset": 500,
        "next_offset": 500,
        "state_bytes": 3,
    }
    return SnapshotOffer(**{**fields, **changes})


async def offered(cluster, part) -> object:
    """Send a first part from the leader's broker to broker 3; return the answer."""
    stream = await cluster.the_leader()._transport.open_snapshot(3)
    await stream.send(part)
    try:
        return await stream.receive()
    finally:
        stream.close()


REFUSED = SnapshotAnswer(accepted=False)


async def test_offers_for_nobody_here_or_from_somewhere_else_are_refused(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 5)
    assert await offered(cluster, offer(cluster, group_id=9)) == REFUSED
    assert await offered(cluster, offer(cluster, to=99)) == REFUSED
    assert await offered(cluster, offer(cluster, sender=12)) == REFUSED
    cluster.engines[3].replicas[1].faulty = "damaged"
    assert await offered(cluster, offer(cluster)) == REFUSED
    cluster.engines[3].replicas[1].faulty = ""
    with pytest.raises(SnapshotLost):
        await offered(cluster, SnapshotEnd())


async def test_a_replica_that_has_it_already_says_so(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 5)
    await cluster.until(lambda: len(cluster.values(3)) == 5)
    replica = cluster.the_leader().replicas[1]
    meta = SnapshotMeta(3, replica.node.term, replica.node.membership, 1)
    answer = await offered(cluster, offer(cluster, meta=meta))
    assert answer == SnapshotAnswer(accepted=False, has_it=True)
    assert not cluster.engines[3].replicas[1].node.is_installing


async def test_one_snapshot_at_a_time_for_a_group(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 5)
    transport = cluster.the_leader()._transport
    first = await transport.open_snapshot(3)
    await first.send(offer(cluster))
    assert await first.receive() == SnapshotAnswer(accepted=True, from_offset=500)
    assert cluster.engines[3].replicas[1].node.is_installing
    assert await offered(cluster, offer(cluster)) == REFUSED
    first.close()
    await cluster.until(lambda: not cluster.engines[3].replicas[1].node.is_installing)


@pytest.mark.parametrize(
    "parts",
    [
        [SnapshotEnd()],
        [SnapshotState(b"abc"), SnapshotEnd()],
        [SnapshotState(b"more than was offered")],
        [SnapshotAnswer(True)],
    ],
)
async def test_what_does_not_fit_the_offer_changes_nothing(short_log_twins, parts):
    cluster = short_log_twins
    await fill(cluster, 5)
    await cluster.until(lambda: len(cluster.values(3)) == 5)
    stream = await cluster.the_leader()._transport.open_snapshot(3)
    await stream.send(offer(cluster))
    assert isinstance(await stream.receive(), SnapshotAnswer)
    for part in parts:
        await stream.send(part)
    with pytest.raises(SnapshotLost):
        await stream.receive()
    await cluster.append("after")
    await cluster.until(lambda: len(cluster.values(3)) == 6)


async def test_a_replica_that_is_dropped_meanwhile_takes_no_snapshot(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 5)
    stream = await cluster.the_leader()._transport.open_snapshot(3)
    membership = Membership(voters=(RaftMember(11, 1),), version=1)
    state = b"[[], 500, 500]"
    meta = SnapshotMeta(10_000, cluster.the_leader().replicas[1].node.term, membership, 1)
    await stream.send(offer(cluster, meta=meta, state_bytes=len(state)))
    await stream.receive()
    await cluster.engines[3].delete_replica(1)
    for part in (SnapshotState(state), SnapshotEnd()):
        await stream.send(part)
    with pytest.raises(SnapshotLost):
        await stream.receive()
    assert not cluster.engines[3].failure.done()
