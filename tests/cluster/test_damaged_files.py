"""A broker whose files were damaged behind its back: noticed, taken out, refilled by its peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.fault_cluster import FaultCluster
from tests.cluster.processes import wait_until
from tests.cluster.stream import Stream, check_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

TOPIC = "values"
REFILLED_SECONDS = 90
PAGE_BYTES = 4_096


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FaultCluster]:
    with FaultCluster(tmp_path) as cluster:
        made = cluster.http.post(
            f"{cluster.manager.address}/topics",
            json={"topic": TOPIC, "number_of_partitions": 1},
            timeout=30,
        )
        assert made.status_code == 201, made.text
        yield cluster


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        [byte] = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("damage", [cut, flip])
def test_damaged_log_of_one_broker_is_noticed_and_its_replica_refilled_under_a_new_id(
    cluster: FaultCluster, damage: Callable[[Path], None], say: Callable[[str], None]
) -> None:
    with Stream(cluster, TOPIC) as stream:
        stream.wait_for_more(200)
        leader = cluster.leader_id(TOPIC)
        broker_id = next(one for one in cluster.brokers if one != leader)
        broker = cluster.brokers[broker_id]
        [old] = cluster.local_replicas(broker.address, TOPIC)
        broker.kill()
        damage(broker.directory / "broker.sqlite3-wal")
        broker.start()
        assert list(broker.directory.glob("damaged-*")), "what was stored is kept aside"

        def refilled() -> bool:
            replicas = cluster.local_replicas(broker.address, TOPIC)
            return any(
                one["replica_id"] != old["replica_id"]
                and one["role"] == "follower"
                and not one["faulty"]
                for one in replicas
            )

        wait_until(refilled, what="a new replica follows", seconds=REFILLED_SECONDS)
        stream.wait_for_more(50)
    found = check_history(cluster, stream)
    [new] = cluster.local_replicas(broker.address, TOPIC)
    say(
        f"{damage.__name__} write-ahead log: replica {old['replica_id']} refilled as"
        f" {new['replica_id']}; {found['acknowledged']} acknowledged, {found['unknown']} unknown;"
        " lost, doubled, invented, reordered: 0"
    )
