"""Three brokers with the real engine: produce and pop through lost leaders, then compare."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from broker_app.runtime import BrokerRuntime, state_of
from broker_app.selectors.fetch import batches_fetch
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.groups import offsets_commit
from broker_app.services.produce import batch_produce
from myqueue.contract.errors import IllegalGeneration, QueueError
from myqueue.contract.group_inputs import OffsetsCommit
from myqueue.contract.records import decode_records, request_digest
from tests.broker_app.engine_twin import runtime_over
from tests.broker_app.replica import batch_of
from tests.raft_app.engine.engine_harness import PACE_SECONDS, EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from raft_app.engine.engine import Engine
    from raft_app.engine.replica import Replica

BATCHES = 40
PRODUCERS = (1, 2)
TRIES_MAX = 400


class Partition:
    """One partition on three brokers, ticked while calls are under way."""

    def __init__(self, cluster: EngineCluster) -> None:
        self.cluster = cluster
        self.runtimes: dict[int, BrokerRuntime] = {}

    def runtime(self, engine: Engine) -> BrokerRuntime:
        known = self.runtimes.get(engine.broker_id)
        if known is None or known.engine is not engine:
            known = runtime_over(engine)
            self.runtimes[engine.broker_id] = known
        return known

    def place(self) -> tuple[BrokerRuntime, Replica] | None:
        leader = self.cluster.leader()
        return None if leader is None else (self.runtime(leader), leader.replicas[1])

    async def call(self, service: Any, **fields: Any) -> Any:
        """Call at whoever leads until it works, as a client does."""
        for _ in range(TRIES_MAX):
            place = self.place()
            if place is not None:
                try:
                    return await service(runtime=place[0], replica=place[1], **fields)
                except QueueError as error:
                    if not error.retriable:
                        raise
            await asyncio.sleep(PACE_SECONDS * 5)
        raise AssertionError("no answer")

    async def produce(self, producer_id: int) -> list[int]:
        offsets = []
        sequence = 0
        for number in range(BATCHES):
            values = [f"{producer_id}/{sequence + place}" for place in range(1 + number % 3)]
            request = batch_of(*values, producer_id=producer_id, sequence=sequence)
            appended = await self.call(
                batch_produce, producer_id=producer_id, batch=request.batch, timeout_ms=100
            )
            offsets.append(appended.base_offset)
            sequence += len(values)
        return offsets

    async def consume(self, consumer_id: int, count: int) -> list[Any]:
        values: list[Any] = []
        number = 0
        while len(values) < count:
            number += 1
            popped = await self.call(
                messages_pop,
                call=PopCall(
                    consumer_id=consumer_id,
                    max_messages=5,
                    max_bytes=1 << 20,
                    wait_ms=20,
                    timeout_ms=100,
                    request_digest=request_digest(f"request {number}"),
                ),
            )
            assert not popped.messages or popped.first_offset == len(values)
            values += [record.value for _, record in popped.messages]
        return values

    async def commit(self, generation: int, offset: int | None = None) -> int:
        """Return where the group is."""
        commit = OffsetsCommit("logs", 0, "billing", generation, offset, timeout_ms=100)
        place = await self.call(offsets_commit, commit=commit)
        return int(place.offset)

    async def tick(self) -> None:
        while True:
            for engine in list(self.cluster.engines.values()):
                engine.post_tick()
            await asyncio.sleep(PACE_SECONDS)


@pytest.fixture
async def partition(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Partition]:
    factory = partial(PartitionState, limits=StateLimits())
    monkeypatch.setattr("tests.raft_app.engine.engine_harness.ListMachine", factory)
    cluster = EngineCluster()
    await cluster.start_all()
    await cluster.create_group()
    made = Partition(cluster)
    ticking = asyncio.get_running_loop().create_task(made.tick())
    yield made
    ticking.cancel()
    await asyncio.wait((ticking,))
    await cluster.stop_all()


async def disturb(partition: Partition) -> list[int]:
    """Stop and restart whoever leads, three times; return the high watermarks at each stop."""
    cluster = partition.cluster
    reached = []
    for _ in range(3):
        await asyncio.sleep(PACE_SECONDS * 20)
        leader = cluster.leader()
        assert leader is not None
        reached.append(state_of(leader.replicas[1]).next_offset)
        broker_id = leader.broker_id
        await cluster.stop(broker_id)
        await asyncio.sleep(PACE_SECONDS * 30)
        await cluster.start(broker_id)
        await cluster.until(lambda: cluster.leader() is not None)
    return reached


async def test_every_message_once_and_in_order_through_lost_leaders(partition: Partition) -> None:
    total = len(PRODUCERS) * sum(1 + number % 3 for number in range(BATCHES))
    *produced, first, second, reached = await asyncio.gather(
        *(partition.produce(producer_id) for producer_id in PRODUCERS),
        partition.consume(5, total),
        partition.consume(6, total),
        disturb(partition),
    )
    assert first == second
    assert reached[0] < total, "the first stop came too late to disturb anything"
    for producer_id, offsets in zip(PRODUCERS, produced, strict=True):
        own = [value for value in first if value.startswith(f"{producer_id}/")]
        assert own == [f"{producer_id}/{number}" for number in range(len(own))]
        assert offsets == sorted(set(offsets))
    assert len(first) == total

    cluster = partition.cluster
    groups = [engine.replicas[1] for engine in cluster.engines.values()]
    await cluster.until(lambda: len({replica.applied.index for replica in groups}) == 1)
    states = [state_of(replica) for replica in groups]
    assert len({state.snapshot() for state in states}) == 1
    stored = []
    for engine in cluster.engines.values():
        replica = engine.replicas[1]
        await cluster.until(lambda replica=replica: replica.hears_leader)
        fetched = await batches_fetch(
            runtime=partition.runtime(engine),
            replica=replica,
            offset=0,
            max_bytes=1 << 20,
            wait_ms=0,
        )
        assert fetched.next_offset == fetched.high_watermark == total
        stored.append([batch.data for batch in fetched.batches])
    assert stored[0] == stored[1] == stored[2]
    assert [record.value for data in stored[0] for record in decode_records(data)] == first


async def read_in_generations(
    partition: Partition, count: int, disturbing: asyncio.Task[list[int]]
) -> tuple[int, int]:
    """Commit offsets in turn as members of rising generations while leaders come and go.

    Each member but the last commits once more when the next has fenced it, which is refused.

    Returns:
        The last generation and its offset.
    """
    generation = done = 0
    while not disturbing.done():
        generation += 1
        begun = await partition.commit(generation)
        assert begun == done, "a member begins where the one before it ended"
        if generation > 1:
            with pytest.raises(IllegalGeneration) as refused:
                await partition.commit(generation - 1, 0)
            assert refused.value.details == {"generation": generation}
        for _ in range(3):
            done = (done + 1) % (count + 1)
            assert await partition.commit(generation, done) == done
    return generation, done


async def test_generations_fence_through_lost_leaders(partition: Partition) -> None:
    produced = await partition.produce(1)
    disturbing = asyncio.get_running_loop().create_task(disturb(partition))
    generation, done = await read_in_generations(partition, produced[-1], disturbing)
    await disturbing
    assert generation > 3
    cluster = partition.cluster
    groups = [engine.replicas[1] for engine in cluster.engines.values()]
    await cluster.until(lambda: len({replica.applied.index for replica in groups}) == 1)
    states = [state_of(replica) for replica in groups]
    assert len({state.snapshot() for state in states}) == 1
    known = states[0].consumer_group("billing")
    assert known is not None
    assert (known.generation, known.offset) == (generation, done)
