"""What snapshots carry, and what keeps a leader from sending one."""

from __future__ import annotations

import pytest

from tests.raft_app.engine.snapshot_harness import add_replica, compacted, fill, sent_rows

pytestmark = pytest.mark.asyncio


async def test_follower_that_was_away_gets_only_what_it_lacks(short_logs):
    cluster = short_logs
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    await cluster.stop(3)
    texts = await fill(cluster, 40, start=30)
    await compacted(cluster, 1, 2)
    await cluster.until(lambda: cluster.the_leader().replicas[1].node.first_index > 40)
    offsets = sent_rows(cluster.the_leader())
    await cluster.start(3)
    await cluster.until(lambda: cluster.values(3)[-1:] == texts[-1:])
    assert cluster.values(3) == cluster.values(1)
    assert cluster.engines[3].snapshots_received.received == 1
    assert offsets
    assert min(offsets) >= 30


async def test_new_replica_does_not_get_messages_that_are_gone(short_logs):
    cluster = short_logs
    await fill(cluster, 40)
    await cluster.append("cut 30", kind="add")
    await compacted(cluster, 1, 2, 3)
    offsets = sent_rows(cluster.the_leader())
    await cluster.join(4, 14)
    await cluster.change_replicas([(11, 1), (12, 2), (13, 3), (14, 4)])
    await cluster.until(lambda: cluster.values(4) == cluster.values(1))
    assert offsets
    assert min(offsets) == 30


async def test_damaged_row_makes_its_sender_faulty_and_another_one_sends(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    leader = cluster.the_leader()
    cluster.storages[leader.broker_id].damage_entry(1, 20)
    await add_replica(cluster, 14, 4)
    await cluster.until(lambda: bool(leader.replicas[1].faulty))
    await cluster.until(lambda: cluster.leader() not in (None, leader))
    other = cluster.the_leader().broker_id
    await cluster.until(lambda: cluster.values(4) == cluster.values(other))


async def test_snapshot_wanted_at_the_very_end_of_a_failed_one_is_sent(
    short_log_twins, monkeypatch
):
    cluster = short_log_twins
    leader = cluster.the_leader()
    replica, sender, unknown = leader.replicas[1], leader.snapshots_sent, 99
    reports: list[bool] = []

    def report_snapshot(peer: int, *, ok: bool) -> None:
        reports.append(ok)
        if len(reports) == 1:
            sender.send(replica, peer)

    monkeypatch.setattr(replica.node, "report_snapshot", report_snapshot)
    sender.send(replica, unknown)
    await cluster.until(lambda: len(reports) == 2)
    assert reports == [False, False]
