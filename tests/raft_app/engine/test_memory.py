"""A broker with two hundred partitions stays below its budget, whatever is slow or gone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from http_base.memory_budget import BUDGET_BYTES_MIN, MemoryBudget
from myqueue.contract.errors import CommitTimeout, Overloaded, QueueError
from raft_app.core.types import Membership, RaftMember
from raft_app.storage.protocol import GroupSpec
from tests.doubles.memory import watched_budget
from tests.doubles.storage import MemoryStorage
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from raft_app.engine.engine import Engine
    from raft_app.storage.protocol import Operation

GROUPS = range(1, 201)
TEXT = "x" * (16 << 10)
ROUNDS = 8
"""Texts for each group: 25 MiB together."""
SHARE = 4 << 20


class GatedStorage(MemoryStorage):
    """Writes nothing while its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, operations: Sequence[Operation]) -> None:
        """Store, once the gate is open."""
        assert self.gate.wait(60)
        super().write(operations)


def small_budget() -> MemoryBudget:
    """Return a budget with an eighth of 4 MiB."""
    return watched_budget(BUDGET_BYTES_MIN, shrunk_by=BUDGET_BYTES_MIN // (8 * SHARE))


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    """Three brokers; the first one leads two hundred groups."""
    made = EngineCluster(make_storage=lambda _: GatedStorage(), make_memory=small_budget)
    await made.start_all()
    for group_id in GROUPS:
        members = tuple(RaftMember(10 * group_id + broker, broker) for broker in (1, 2, 3))
        for broker in (3, 2, 1):
            spec = GroupSpec(group_id, 10 * group_id + broker, "logs", group_id)
            await made.engines[broker].create_replica(
                spec, Membership(voters=members, version=1), campaign=broker == 1
            )
    leader = made.engines[1]
    await made.until(lambda: all(one.serves for one in leader.replicas.values()))
    yield made
    for storage in made.storages.values():
        storage.gate.set()  # type: ignore[attr-defined]
    memories = [engine.memory for engine in made.engines.values()]
    await made.stop_all()
    assert not any(share.used_bytes for memory in memories for share in memory.shares)


def within_budget(engine: Engine) -> bool:
    """Tell whether no share ever held more than it may."""
    return all(share.peak_bytes <= share.limit_bytes for share in engine.memory.shares)


async def produce(leader: Engine, group_id: int) -> None:
    """Append all texts of a group, again whenever one is refused for want of room."""
    for number in range(ROUNDS):
        while True:
            try:
                text = f"{group_id} {number} {TEXT}"
                await leader.propose(group_id, ("append", text), timeout_ms=60_000)
            except Overloaded:
                await asyncio.sleep(0.01)
            else:
                break


async def ticking(cluster: EngineCluster, work: asyncio.Future[object]) -> None:
    """Tick until some work is done."""
    await cluster.until(work.done)
    work.result()


async def test_two_hundred_partitions_with_a_follower_whose_disk_hangs(
    cluster: EngineCluster,
) -> None:
    leader, slow = cluster.engines[1], cluster.engines[3]
    gate = cluster.storages[3].gate  # type: ignore[attr-defined]
    gate.clear()
    await ticking(cluster, asyncio.gather(*(produce(leader, group_id) for group_id in GROUPS)))
    assert slow.memory.unwritten.peak_bytes > SHARE // 4
    assert SHARE // 2 <= leader.windows.used_bytes(3) <= SHARE // 2 + 2 * len(TEXT)
    assert slow.memory.unwritten.refusals == 0
    gate.set()
    await cluster.until(
        lambda: all(
            slow.replicas[group_id].applied.index == leader.replicas[group_id].applied.index
            for group_id in GROUPS
        )
    )
    assert all(cluster.values(3, group_id) == cluster.values(1, group_id) for group_id in GROUPS)
    for engine in cluster.engines.values():
        assert within_budget(engine), [
            (share.name, share.peak_bytes, share.limit_bytes) for share in engine.memory.shares
        ]
        assert engine.memory.pending.used_bytes == 0
        assert engine.memory.unwritten.used_bytes == 0


async def test_a_partition_without_a_quorum_takes_half_at_most_and_the_others_go_on(
    cluster: EngineCluster,
) -> None:
    leader, pending = cluster.engines[1], cluster.engines[1].memory.pending
    cluster.hub.isolate(1, silently=True)
    asked = [
        asyncio.ensure_future(leader.propose(1, ("append", f"{number} {TEXT}"), timeout_ms=20))
        for number in range(400)
    ]
    others = [
        asyncio.ensure_future(leader.propose(one, ("append", TEXT[:100]), timeout_ms=60_000))
        for one in range(2, 51)
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = sum(isinstance(one, Overloaded) for one in results)
    assert 200 < refused < 400
    assert refused + sum(isinstance(one, CommitTimeout) for one in results) == 400
    assert pending.limit_bytes // 3 < pending.used_bytes <= pending.limit_bytes
    assert not any(one.done() for one in others)
    cluster.hub.heal()
    await ticking(cluster, asyncio.gather(*others))
    await cluster.until(lambda: pending.used_bytes == 0)


async def test_what_was_given_up_or_deleted_is_given_back(cluster: EngineCluster) -> None:
    leader = cluster.engines[1]
    cluster.hub.isolate(1, silently=True)
    asked = [
        asyncio.ensure_future(leader.propose(one, ("append", TEXT), timeout_ms=60_000))
        for one in range(1, 21)
    ]
    await asyncio.sleep(0)
    for one in asked[:10]:
        one.cancel()
    await cluster.ticks(5)
    assert leader.memory.pending.used_bytes >= 20 * len(TEXT)
    for group_id in GROUPS:
        await leader.delete_replica(group_id)
    for one in asked:
        with suppress(QueueError, asyncio.CancelledError):
            await one
    await cluster.ticks(100)
    assert not any(share.used_bytes for share in leader.memory.shares)


async def test_a_follower_lets_entries_pass_by_that_it_has_no_room_for(
    cluster: EngineCluster,
) -> None:
    leader, full = cluster.engines[1], cluster.engines[3]
    unwritten = full.memory.unwritten
    unwritten.limit_bytes = 0
    last_index = full.replicas[1].node.last_index
    await ticking(cluster, asyncio.ensure_future(produce(leader, 1)))
    await cluster.ticks(100)
    assert unwritten.refusals > 0
    assert full.replicas[1].node.last_index == last_index
    assert full.replicas[1].hears_leader
    unwritten.limit_bytes = SHARE
    await cluster.until(lambda: full.replicas[1].applied.index == leader.replicas[1].applied.index)
