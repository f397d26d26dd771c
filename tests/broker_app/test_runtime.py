"""The broker of the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app import runtime as runtimes
from broker_app import tasks
from broker_app.partition.limits import FORGET_AFTER_MS, StateLimits
from myqueue.contract.errors import NoLeader, Overloaded, PartitionNotFound, StalePlacement
from tests.broker_app.engine_twin import EngineTwin, runtime_over, turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime
    from raft_app.storage.protocol import BrokerIdentity
    from tests.broker_app.engine_twin import LinkTwin, ReplicaTwin


class WalkedReplicas(dict[int, "ReplicaTwin"]):
    """Replicas that count who looks at all of them."""

    walks = 0

    def __iter__(self) -> Iterator[int]:
        self.walks += 1
        return super().__iter__()

    def items(self) -> Any:
        self.walks += 1
        return super().items()

    def values(self) -> Any:
        self.walks += 1
        return super().values()


def test_partition_is_found_as_groups_come_and_go(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    with pytest.raises(PartitionNotFound):
        runtime.partition("logs", 0)
    first = engine.add("logs", 0, group_id=7)
    assert runtime.partition("logs", 0) is first
    again = engine.add("logs", 0, group_id=9)
    assert runtime.partition("logs", 0) is again
    engine.remove(9)
    assert runtime.partition("logs", 0) is first
    engine.remove(7)
    engine.add("logs", 1, group_id=11)
    with pytest.raises(PartitionNotFound):
        runtime.partition("logs", 0)


def test_a_replica_that_takes_the_place_of_another_of_its_group_counts(
    engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    old = engine.add("logs", 0, group_id=7)
    assert runtime.partition("logs", 0) is old
    engine.remove(7)
    new = engine.add("logs", 0, group_id=7)
    new.note_change()
    assert runtime.partition("logs", 0) is new


def test_newer_group_of_a_name_counts_though_another_went_meanwhile(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    old = engine.add("logs", 0, group_id=7)
    engine.add("other", 0, group_id=8)
    assert runtime.partition("logs", 0) is old
    engine.remove(8)
    new = engine.add("logs", 0, group_id=9)
    assert runtime.partition("logs", 0) is new
    with pytest.raises(PartitionNotFound):
        runtime.partition("other", 0)


def test_flood_of_unknown_partitions_walks_over_the_groups_once_when_one_went(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    watched = WalkedReplicas()
    engine.replicas = watched
    for partition in range(10):
        engine.add("logs", partition, group_id=partition + 1)
    for walks in (0, 1, 2):
        for number in range(100):
            with pytest.raises(PartitionNotFound):
                runtime.partition("logs", 1_000 + number)
            with pytest.raises(PartitionNotFound):
                runtime.partition(f"unknown-{number}", 0)
            assert runtime.partition("logs", number % 8).spec.partition == number % 8
            assert len(runtime.places) == 10 - walks
        assert watched.walks == walks
        engine.remove(10 - walks)


async def test_lease_epoch_is_stored_once_and_never_goes_back(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    await runtime.obey_epoch(3)
    await runtime.obey_epoch(3)
    with pytest.raises(StalePlacement):
        await runtime.obey_epoch(2)
    assert [identity.epoch for identity in engine.identities] == [3]
    again = runtime_over(engine, identity=engine.identities[-1])
    with pytest.raises(StalePlacement):
        await again.obey_epoch(2)


async def test_an_epoch_is_in_force_though_its_call_is_cancelled(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    gate = asyncio.Event()
    save = engine.save_identity

    async def save_later(identity: BrokerIdentity) -> None:
        await gate.wait()
        await save(identity)

    engine.save_identity = save_later  # type: ignore[method-assign]
    calling = asyncio.ensure_future(runtime.obey_epoch(7))
    await asyncio.sleep(0.01)
    calling.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    with pytest.raises(StalePlacement):
        await runtime.obey_epoch(6)
    assert [identity.epoch for identity in engine.identities] == [7]


async def test_epochs_that_come_together_are_stored_in_order(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    results = await asyncio.gather(
        *(runtime.obey_epoch(epoch) for epoch in (5, 4, 7, 7)), return_exceptions=True
    )
    assert [type(result) for result in results] == [
        type(None),
        StalePlacement,
        type(None),
        type(None),
    ]
    assert [identity.epoch for identity in engine.identities] == [5, 7]


def test_without_a_broker_there_is_no_leader() -> None:
    runtimes.install(None)
    assert runtimes.installed() is None
    tasks.broker_heartbeat()
    with pytest.raises(NoLeader):
        runtimes.current()


async def test_heartbeat_reports_and_forgets_idle_producers_of_full_tables(
    link: LinkTwin,
) -> None:
    engine = EngineTwin(StateLimits(producers_max=2))
    runtimes.install(runtime_over(engine, link))
    replica = engine.add()

    async def heartbeat() -> None:
        tasks.broker_heartbeat()
        await turns(20)

    for producer_id in (1, 2):
        request = batch_of("a", producer_id=producer_id, sequence=0)
        await engine.propose(7, request, timeout_ms=100)
    await heartbeat()
    third = batch_of("a", producer_id=3, sequence=0)
    with pytest.raises(Overloaded):
        await engine.propose(7, third, timeout_ms=100)
    proposals = len(engine.proposals)
    engine.clock += FORGET_AFTER_MS
    for _ in range(3):
        await heartbeat()
    assert len(engine.proposals) == proposals, "of a known age, and none is idle yet"
    engine.clock += 1
    await heartbeat()
    assert len(engine.proposals) == proposals + 1
    assert replica.state_machine.table_sizes().producers == 0
    await engine.propose(7, third, timeout_ms=100)
    assert link.heartbeats == 5
    proposals = len(engine.proposals)
    await heartbeat()
    assert len(engine.proposals) == proposals, "half-empty tables are left alone"
    engine.lose(replica)
    await heartbeat()
    runtimes.install(None)
    assert len(asyncio.all_tasks()) == 1
