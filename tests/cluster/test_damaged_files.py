"""A broker whose files were damaged behind its back: noticed, taken out, refilled by its peers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster.rounds import MANY
from tests.cluster.stream import Stream, check_history
from tests.cluster.wal_files import WAL, synced_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.disks import DisksCluster
    from tests.cluster.fault_cluster import FaultCluster

pytestmark = pytest.mark.cluster

TOPIC = "values"
PLACES = {"its beginning": 0.0, "a third": 0.33, "two thirds": 0.67, "its last bytes": 1.0}
"""Share of the log before the damage."""
CASES = [(kind, place) for kind in ("cut", "flipped") for place in PLACES]
LAST_BYTES = 100
SILENT_SECONDS = 2.5
"""Longer than any election."""


@pytest.fixture
def cluster(bad_disks: DisksCluster) -> FaultCluster:
    bad_disks.cluster.create_topic(TOPIC)
    return bad_disks.cluster


def damage(directory: Path, kind: str, share: float) -> None:
    """Cut the log off before the end of what was acknowledged, or change one bit there."""
    at = int((synced_bytes(directory) - LAST_BYTES) * share)
    with (directory / WAL).open("r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize(("kind", "place"), CASES if MANY else [("flipped", "two thirds")])
def test_damaged_log_of_one_broker_is_noticed_and_its_replica_refilled_under_a_new_id(
    cluster: FaultCluster, kind: str, place: str, say: Callable[[str], None]
) -> None:
    with Stream(cluster, TOPIC) as stream:
        stream.wait_for_more(100)
        leader = cluster.leader_id(TOPIC)
        broker_id, third = (one for one in cluster.brokers if one != leader)
        broker = cluster.brokers[broker_id]
        old = cluster.replica(broker_id, TOPIC)["replica_id"]
        broker.kill()
        damage(broker.directory, kind, PLACES[place])

        cluster.brokers[third].kill()  # the faulty one is no part of a quorum
        broker.start()
        assert list(broker.directory.glob("damaged-*")), "what was stored is kept aside"
        replica = cluster.replica(broker_id, TOPIC)
        assert replica["faulty"]
        assert replica["replica_id"] == old
        since = time.monotonic()
        time.sleep(SILENT_SECONDS)
        assert stream.acknowledged_within(since, time.monotonic()) == 0
        cluster.brokers[third].start()
        began = time.monotonic()
        new = cluster.wait_refilled(broker_id, TOPIC, old)
        seconds = time.monotonic() - began
        stream.wait_for_more()
    found = check_history(cluster, stream)
    say(
        f"write-ahead log {kind} at {place}: no vote and no acknowledgement of replica {old},"
        f" refilled as {new} in {seconds:.1f} s; {found['acknowledged']} acknowledged,"
        f" {found['unknown']} unknown; lost, doubled, invented, reordered: 0"
    )
