"""Brokers whose disk is slow, or fails to sync: nobody is deposed for it, and nothing is lost."""

from __future__ import annotations

import errno
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster.disks import exit_status, start_until_it_stays
from tests.cluster.processes import wait_until
from tests.cluster.rounds import MANY
from tests.cluster.stream import Stream, check_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.disks import DisksCluster

pytestmark = pytest.mark.cluster

SLOW_MS = (200, 2_000)
SLOW_SECONDS = 60.0 if MANY else 5.0
TERMS_PER_SECOND_MAX = 1.0
SLOW_SYNCS_MIN = 3
HANGING_MS = 600_000
ROLES = ["leader", "follower"]


@pytest.mark.parametrize("role", ROLES if MANY else ROLES[1:])
def test_slow_disk_causes_no_elections_and_writes_go_on(
    bad_disks: DisksCluster, role: str, say: Callable[[str], None]
) -> None:
    """At the pace of the other two; a leader, whose own copy counts too, hands over for that."""
    cluster, topic = bad_disks.cluster, f"slow-{role}"
    cluster.create_topic(topic)
    disk = bad_disks.disks[bad_disks.victim(role, topic)]
    syncs_before = disk.syncs
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        terms = {one: cluster.term(one, topic) for one in cluster.brokers}
        disk.slow(*SLOW_MS)
        started, before = time.monotonic(), stream.count
        time.sleep(SLOW_SECONDS)
        wait_until(lambda: disk.syncs - syncs_before >= SLOW_SYNCS_MIN, what="syncs were slow")
        syncs, written = disk.syncs - syncs_before, stream.count - before
        seconds = time.monotonic() - started
        grown = max(cluster.term(one, topic) - term for one, term in terms.items())
        leads = cluster.leader_id(topic)
        disk.heal()
        stream.wait_for_more()
    found = check_history(cluster, stream)
    gaps = stream.gaps(started, started + SLOW_SECONDS)
    say(
        f"{role} whose syncs take {SLOW_MS[0]} to {SLOW_MS[1]} ms, {syncs} of them in"
        f" {seconds:.0f} s: {grown / seconds:.2f} terms/s, {written} acknowledged meanwhile, from"
        f" one to the next median {statistics.median(gaps) * 1000:.0f} ms, worst"
        f" {max(gaps) * 1000:.0f} ms; {found['unknown']} unknown; lost, doubled, invented,"
        " reordered: 0"
    )
    assert grown / seconds < TERMS_PER_SECOND_MAX
    assert written > 0
    assert bad_disks.disks[leads] is not disk


def test_leader_whose_disk_hangs_hands_over_and_may_be_killed(
    bad_disks: DisksCluster, say: Callable[[str], None]
) -> None:
    cluster, topic = bad_disks.cluster, "hanging"
    cluster.create_topic(topic)
    victim = cluster.leader_id(topic)
    disk, broker = bad_disks.disks[victim], cluster.brokers[victim]
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        before = cluster.replica(victim, topic)
        began = time.monotonic()
        disk.slow(HANGING_MS, HANGING_MS)
        stream.wait_for_more()
        seconds = time.monotonic() - began
        leads = cluster.leader_id(topic)
        broker.kill()
        disk.heal()
        start_until_it_stays(broker)
        stream.wait_for_more()
    found = check_history(cluster, stream)
    gap = max(stream.gaps(began, began + seconds))
    say(
        f"disk of the leader hangs: from one acknowledgement to the next {gap:.1f} s at most, then"
        f" broker {leads} leads; {found['acknowledged']} acknowledged, {found['unknown']} unknown;"
        " lost, doubled, invented, reordered: 0"
    )
    assert leads != victim
    after = cluster.replica(victim, topic)
    assert (after["replica_id"], after["faulty"]) == (before["replica_id"], "")


@pytest.mark.parametrize("role", ROLES if MANY else ROLES[:1])
def test_sync_that_fails_ends_a_broker_whose_replicas_are_refilled_under_new_ids(
    bad_disks: DisksCluster, role: str, say: Callable[[str], None]
) -> None:
    cluster, topic = bad_disks.cluster, f"failing-{role}"
    cluster.create_topic(topic)
    victim = bad_disks.victim(role, topic)
    disk, broker = bad_disks.disks[victim], cluster.brokers[victim]
    with Stream(cluster, topic) as stream:
        stream.wait_for_more()
        old = cluster.replica(victim, topic)["replica_id"]
        disk.fail(errno.EIO)
        status = exit_status(broker)
        assert status == 1
        stream.wait_for_more()
        disk.heal()
        start_until_it_stays(broker)
        assert (broker.directory / "damaged-1").exists(), "what was stored is kept aside"
        began = time.monotonic()
        new = cluster.wait_refilled(victim, topic, old)
        seconds = time.monotonic() - began
        stream.wait_for_more()
    found = check_history(cluster, stream)
    say(
        f"sync of the {role} fails: exit status {status}; replica {old} refilled as {new}"
        f" {seconds:.1f} s after the restart; {found['acknowledged']} acknowledged,"
        f" {found['unknown']} unknown; lost, doubled, invented, reordered: 0"
    )
