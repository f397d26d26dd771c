"""Snapshots that break off: nothing half-received counts, and the rest comes later."""

from __future__ import annotations

import pytest

from raft_app.transport.snapshot_stream import SnapshotLost
from tests.raft_app.engine.snapshot_harness import compacted, fill, sent_rows, stop_in_the_middle

pytestmark = pytest.mark.asyncio


async def test_cut_in_the_middle_accepts_no_partial_state_and_goes_on_later(short_logs):
    cluster = short_logs
    replica, offsets = await stop_in_the_middle(cluster)
    reached = replica.install_offset
    assert replica.node.is_installing
    assert not replica.hears_leader
    assert cluster.values(4) == []
    assert replica.applied.index == 0
    sent = len(offsets)
    cluster.hub.heal()
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert min(offsets[sent:]) == reached
    assert not replica.node.is_installing
    assert replica.hears_leader


async def test_restart_in_the_middle_goes_on_where_it_was(short_logs):
    cluster = short_logs
    replica, offsets = await stop_in_the_middle(cluster)
    reached, sent = replica.install_offset, len(offsets)
    await cluster.stop(4)
    cluster.hub.heal()
    await cluster.start(4)
    replica = cluster.engines[4].replicas[1]
    assert replica.node.is_installing
    assert replica.install_offset == reached
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert min(offsets[sent:]) == reached


async def test_new_leader_goes_on_with_the_snapshot_of_the_old_one(short_log_twins):
    cluster = short_log_twins
    replica, _ = await stop_in_the_middle(cluster)
    reached = replica.install_offset
    old = cluster.the_leader().broker_id
    await cluster.stop(old)
    offsets = [sent_rows(engine) for engine in cluster.engines.values()]
    cluster.hub.heal()
    await cluster.until(lambda: cluster.leader() is not None)
    await fill(cluster, 20, start=60)
    other = cluster.the_leader().broker_id
    await cluster.until(lambda: cluster.values(4) == cluster.values(other))
    assert min(offset for one in offsets for offset in one) == reached


async def test_follower_cut_off_before_the_first_row_goes_on_with_its_log(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    await cluster.stop(3)
    await fill(cluster, 40, start=30)
    await compacted(cluster, 1, 2)
    await cluster.until(lambda: cluster.the_leader().replicas[1].node.first_index > 40)
    leader = cluster.the_leader()

    async def refuse(*_):
        raise SnapshotLost("on purpose")

    send_rows, leader.snapshots_sent._send_rows = leader.snapshots_sent._send_rows, refuse
    await cluster.start(3)
    replica = cluster.engines[3].replicas[1]
    await cluster.ticks(40)
    assert replica.install_offset is None
    # The leader tries again and again; between two tries the log is in use.
    await cluster.until(lambda: not replica.node.is_installing)
    leader.snapshots_sent._send_rows = send_rows
    await cluster.until(lambda: cluster.values(3) == cluster.values(1))


async def test_voter_restarted_in_the_middle_votes_for_whoever_has_all_it_acknowledged(short_logs):
    cluster = short_logs
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    await cluster.stop(3)
    await fill(cluster, 60, start=30)
    await compacted(cluster, 1, 2)
    await cluster.until(lambda: cluster.the_leader().replicas[1].node.first_index > 40)
    leader = cluster.the_leader()
    await cluster.start(3)
    await cluster.until(lambda: (cluster.engines[3].replicas[1].install_offset or 0) > 40)
    cluster.hub.isolate(3)
    await cluster.until(lambda: not cluster.engines[3].snapshots_received._replicas)
    await cluster.stop(3)
    await cluster.stop(leader.broker_id)
    cluster.hub.heal()
    await cluster.start(3)
    assert cluster.engines[3].replicas[1].node.is_installing
    await cluster.until(lambda: cluster.leader() is not None)
    assert cluster.the_leader().broker_id == 3 - leader.broker_id
    await cluster.append("after")
    await cluster.until(lambda: cluster.values(3)[-1:] == ["after"])
