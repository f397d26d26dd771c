"""The broker of the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker_app import runtime as runtimes
from broker_app import tasks
from broker_app.partition.limits import FORGET_AFTER_MS, StateLimits
from myqueue.contract.errors import NoLeader, Overloaded, StalePlacement
from tests.broker_app.engine_twin import EngineTwin, runtime_over, turns
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.storage.protocol import BrokerIdentity
    from tests.broker_app.engine_twin import LinkTwin


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
