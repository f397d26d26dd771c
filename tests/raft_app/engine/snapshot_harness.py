"""Engines whose logs are short, so that new and slow replicas need snapshots."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from raft_app.core.types import RaftMember
from raft_app.engine.config import EngineConfig

if TYPE_CHECKING:
    from raft_app.engine.engine import Engine
    from raft_app.engine.replica import Replica
    from tests.raft_app.engine.engine_harness import EngineCluster

CONFIG = EngineConfig(
    ticks_missed_max=1_000_000,
    log_tail_entries=5,
    checkpoint_entries=10,
    log_keep_bytes=1,
    snapshot_part_bytes=400,
    snapshot_timeout_ms=3_000,
)
MIDDLE = 10
"""An offset in the middle of what a snapshot holds."""


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
        replicas = [cluster.engines[one].replicas[1] for one in broker_ids]
        return all(replica.node.first_index > 10 for replica in replicas)

    await cluster.until(is_done)


def sent_rows(engine: Engine, *, go_on: threading.Event | None = None) -> list[int]:
    """Return the list in which the offsets of all rows that an engine sends will be noted.

    With `go_on`, rows that follow those of `MIDDLE` are held back until it is set.
    """
    offsets: list[int] = []
    read_rows = engine._storage.read_rows

    def noted(group_id, offset, high_watermark, max_bytes):
        rows = read_rows(group_id, offset, high_watermark, max_bytes)
        offsets.extend(row.base_offset for row in rows)
        if go_on is not None and offset > MIDDLE:
            assert go_on.wait(30)
        return rows

    engine._storage.read_rows = noted
    return offsets


async def add_replica(cluster: EngineCluster, replica_id: int, broker_id: int) -> Replica:
    """Make a replica that joins, and ask for it once; return it."""
    replica = await cluster.join(broker_id, replica_id)
    leader = cluster.the_leader()
    voters = leader.replicas[1].node.membership.voters
    leader.change_replicas(1, (*voters, RaftMember(replica_id, broker_id)), 2)
    return replica


async def stop_in_the_middle(cluster: EngineCluster) -> tuple[Replica, list[int]]:
    """Let a new replica get part of a snapshot, then cut it off; return it and what was sent."""
    await fill(cluster, 60)
    await compacted(cluster, 1, 2, 3)
    leader = cluster.the_leader()
    go_on = threading.Event()
    offsets = sent_rows(leader, go_on=go_on)
    replica = await add_replica(cluster, 14, 4)
    await cluster.until(lambda: (replica.install_offset or 0) > MIDDLE)
    cluster.hub.isolate(4)
    go_on.set()
    await cluster.until(lambda: not cluster.engines[4].snapshots_received._replicas)
    return replica, offsets
