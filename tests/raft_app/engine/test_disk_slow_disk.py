"""Leaderships of a broker whose disk is slower than others."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from raft_app.engine.disk import PATIENCE_MS, REST_MS, SLOW_MS, SLOW_TRANSACTION_MS
from tests.doubles.storage import MemoryStorage
from tests.raft_app.engine.engine_harness import EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from raft_app.storage.protocol import Operation

pytestmark = pytest.mark.asyncio


class GatedStorage(MemoryStorage):
    """Transactions wait at a gate, which is open at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def write(self, operations: Sequence[Operation]) -> None:
        self.gate.wait()
        super().write(operations)


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster(make_storage=lambda _: GatedStorage())
    await cluster.start_all()
    await cluster.create_group()
    await cluster.append("a")
    yield cluster
    for broker_id in cluster.storages:
        gate(cluster, broker_id).set()
    await cluster.stop_all()


def gate(cluster: EngineCluster, broker_id: int) -> threading.Event:
    storage = cluster.storages[broker_id]
    assert isinstance(storage, GatedStorage)
    return storage.gate


def begin(cluster: EngineCluster, text: str) -> asyncio.Task[int]:
    """Append at broker 1, which may take its time."""
    appending = cluster.engines[1].propose(1, ("append", text), timeout_ms=60_000)
    return asyncio.get_running_loop().create_task(appending)


def ticks_of(cluster: EngineCluster, milliseconds: int) -> int:
    return milliseconds // cluster.config.tick_ms


def leader_id(cluster: EngineCluster) -> int:
    leader = cluster.leader()
    return leader.broker_id if leader else 0


async def test_leader_whose_disk_hangs_hands_over_and_writes_go_on(cluster):
    gate(cluster, 1).clear()
    hanging = begin(cluster, "b")
    ticks = await cluster.until(lambda: leader_id(cluster) in {2, 3})
    assert ticks >= ticks_of(cluster, PATIENCE_MS)
    assert await cluster.append("c") == 2
    assert not hanging.done()
    gate(cluster, 1).set()
    assert await hanging == 1


async def test_disk_is_slow_while_a_transaction_takes_long(cluster):
    slow_disk = cluster.engines[2].slow_disk
    gate(cluster, 2).clear()
    await cluster.append("b")
    await cluster.ticks(ticks_of(cluster, SLOW_TRANSACTION_MS) // 2)
    assert not slow_disk.is_slow
    await cluster.ticks(ticks_of(cluster, SLOW_TRANSACTION_MS))
    assert slow_disk.is_slow
    assert not cluster.engines[1].slow_disk.is_slow
    gate(cluster, 2).set()
    await cluster.until(lambda: not slow_disk.seconds_so_far)
    assert not slow_disk.is_slow


async def test_disk_is_slow_from_a_hand_over_until_it_was_quick_for_a_while(cluster):
    slow_disk = cluster.engines[1].slow_disk
    gate(cluster, 1).clear()
    hanging = begin(cluster, "b")
    await cluster.until(lambda: leader_id(cluster) in {2, 3})
    assert slow_disk.is_slow
    gate(cluster, 1).set()
    await hanging
    await cluster.ticks(ticks_of(cluster, REST_MS) - ticks_of(cluster, PATIENCE_MS))
    gate(cluster, 1).clear()
    await cluster.append("c")
    await cluster.ticks(2 * ticks_of(cluster, SLOW_MS))
    gate(cluster, 1).set()
    await cluster.until(lambda: not slow_disk.seconds_so_far)
    await cluster.ticks(ticks_of(cluster, REST_MS) // 2)
    assert slow_disk.is_slow
    ticks = await cluster.until(lambda: not slow_disk.is_slow)
    assert ticks <= ticks_of(cluster, REST_MS) // 2


async def test_leader_leads_on_while_the_others_are_no_quicker(cluster):
    for broker_id in cluster.storages:
        gate(cluster, broker_id).clear()
    hanging = begin(cluster, "b")
    await cluster.ticks(3 * ticks_of(cluster, PATIENCE_MS))
    assert leader_id(cluster) == 1
    for broker_id in cluster.storages:
        gate(cluster, broker_id).set()
    assert await hanging == 1


async def test_a_disk_that_is_slow_now_and_then_is_forgiven(cluster):
    term = cluster.the_leader().replicas[1].node.term
    part = ticks_of(cluster, PATIENCE_MS) // 2
    for number in range(4):
        gate(cluster, 1).clear()
        hanging = begin(cluster, f"text {number}")
        await cluster.ticks(part)
        gate(cluster, 1).set()
        await hanging
        await cluster.ticks(3 * part)
    assert leader_id(cluster) == 1
    assert cluster.the_leader().replicas[1].node.term == term


async def test_after_handing_over_it_does_not_do_so_again_for_a_while(cluster):
    gate(cluster, 1).clear()
    first = begin(cluster, "b")
    handed_over = await cluster.until(lambda: leader_id(cluster) in {2, 3})
    gate(cluster, 1).set()
    await first
    await cluster.the_leader().transfer_leadership(1, 1, timeout_ms=5_000)
    await cluster.until(lambda: leader_id(cluster) == 1)
    gate(cluster, 1).clear()
    second = begin(cluster, "c")
    ticks = await cluster.until(lambda: leader_id(cluster) in {2, 3})
    assert handed_over < ticks_of(cluster, REST_MS) / 2 < ticks
    gate(cluster, 1).set()
    await second
