"""Older entries on their way to followers: at a rate for new replicas, at once for voters."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from raft_app.core.config import RaftConfig
from raft_app.core.types import RaftMember
from raft_app.engine.config import EngineConfig
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio

TEXT_BYTES = 1_000
TEXTS = 40
CONFIG = EngineConfig(
    raft=RaftConfig(max_append_bytes=4 * TEXT_BYTES, max_recent_bytes=1),
    ticks_missed_max=1_000_000,
)
"""Whoever lags gets what it lacks in parts of four texts at most, read from storage."""


def text(number: int) -> str:
    return f"{number:0{TEXT_BYTES}}"


@asynccontextmanager
async def written(bytes_per_second: int) -> AsyncIterator[EngineCluster]:
    """Make four brokers; the first three have a group, in which the third has none of the texts."""
    config = replace(CONFIG, snapshot_bytes_per_second=bytes_per_second)
    cluster = EngineCluster(4, config=config)
    try:
        await cluster.start_all()
        await cluster.create_group(brokers=(1, 2, 3))
        await cluster.stop(3)
        for number in range(TEXTS):
            await cluster.append(text(number))
        yield cluster
    finally:
        await cluster.stop_all()


async def test_new_replica_gets_older_entries_at_the_rate_of_snapshots():
    async with written(200_000) as cluster:
        await cluster.join(4, 14)
        started = time.monotonic()
        await cluster.change_replicas([(11, 1), (12, 2), (14, 4)])
        await cluster.until(lambda: len(cluster.values(4)) == TEXTS)
        # 40 KB, of which the first part is free.
        assert time.monotonic() - started > 0.15


async def test_voter_that_lags_waits_for_no_rate():
    async with written(1) as cluster:
        await cluster.start(3)
        await cluster.until(lambda: len(cluster.values(3)) == TEXTS)


async def test_learners_that_wait_take_no_room_on_the_way_to_their_broker():
    async with written(1) as cluster:
        leader = cluster.the_leader()
        await cluster.join(4, 14)
        leader.change_replicas(1, (RaftMember(11, 1), RaftMember(12, 2), RaftMember(14, 4)), 2)
        await cluster.until(lambda: 14 in leader.replicas[1].node.progress)
        learner = leader.replicas[1].node.progress[14]
        # The first part has come, and the next one waits for as many seconds as that had bytes.
        await cluster.until(lambda: learner.match > 0 and bool(learner.wanted))
        await cluster.ticks(3)
        assert leader.windows.used_bytes(4) == 0


async def test_nothing_that_waits_for_its_turn_is_given_to_a_broker_that_has_stopped():
    async with written(20_000) as cluster:  # 0.2 s for a part
        leader, unexpected = cluster.the_leader(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unexpected.append(told))
        replica = leader.replicas[1]
        give, given = replica.entries_read, []
        replica.entries_read = lambda wanted, read: (given.append(len(read)), give(wanted, read))
        await cluster.join(4, 14)
        leader.change_replicas(1, (RaftMember(11, 1), RaftMember(12, 2), RaftMember(14, 4)), 2)
        await cluster.until(lambda: bool(given))
        await cluster.ticks(30)  # the next part is read, and waits
        await cluster.stop(leader.broker_id)
        before = list(given)
        await asyncio.sleep(0.3)
        assert (given, unexpected) == (before, [])
