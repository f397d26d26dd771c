"""Logs that move up behind their checkpoints, and messages that go."""

from __future__ import annotations

import pytest

from tests.raft_app.snapshot_harness import fill

pytestmark = pytest.mark.asyncio


async def test_messages_let_go_are_deleted_on_every_replica(short_logs):
    cluster = short_logs
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
