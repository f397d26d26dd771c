"""Three brokers with the real engine: workers through lost leaders, and what is dead is copied."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.partition.commands import SettleMessages, Start
from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from broker_app.runtime import BrokerRuntime, state_of
from broker_app.services.dead_letters import dead_letters_start
from broker_app.services.produce import batch_produce
from broker_app.services.work import (
    ReceiveCall,
    ReceivedRecord,
    messages_receive,
    messages_settle,
)
from myqueue.contract.backoff import Backoff
from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.records import decode_records
from myqueue.contract.rules.work import SettleKind
from tests.broker_app.engine_twin import LinkTwin, PeersTwin, runtime_over
from tests.broker_app.replica import batch_of
from tests.broker_app.test_with_engine import Partition
from tests.raft_app.engine.engine_harness import PACE_SECONDS, EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from raft_app.engine.engine import Engine

SOURCE, TARGET = 1, 2
"""Group ids of the messages and of the dead letters."""
MESSAGES = 60
WORKERS = 4
LIMIT = 2


class Managers(LinkTwin):
    """Know that somebody leads the dead-letter topic."""

    async def topic_leaders(self, topic: str) -> list[str | None]:
        return ["http://whoever-leads:1"]


class Brokers(PeersTwin):
    """Let whoever leads the dead-letter topic append; every third answer is lost."""

    def __init__(self, partition: WorkPartition) -> None:
        super().__init__()
        self.partition = partition
        self.posts = 0

    async def produce(self, address: str, batch: bytes, query: Mapping[str, str]) -> None:
        leader = self.partition.cluster.leader(TARGET)
        if leader is None:
            raise BrokerUnreachable("nobody leads")
        await batch_produce(
            runtime=self.partition.runtime(leader),
            replica=leader.replicas[TARGET],
            producer_id=int(query["producer_id"]),
            batch=batch,
            timeout_ms=100,
        )
        self.posts += 1
        if self.posts % 3 == 0:
            raise BrokerUnreachable("the answer was lost")


class WorkPartition(Partition):
    """A partition whose brokers copy what is dead."""

    def __init__(self, cluster: EngineCluster) -> None:
        super().__init__(cluster)
        self.all: list[BrokerRuntime] = []

    def runtime(self, engine: Engine) -> BrokerRuntime:
        known = self.runtimes.get(engine.broker_id)
        if known is None or known.engine is not engine:
            known = runtime_over(engine, Managers(), peers=Brokers(self))
            self.runtimes[engine.broker_id] = known
            self.all.append(known)
            dead_letters_start(known)
        return known

    async def follow(self) -> None:
        """Give every engine that comes its runtime, before it leads anything."""
        while True:
            for engine in list(self.cluster.engines.values()):
                self.runtime(engine)
            await asyncio.sleep(0)


@pytest.fixture
async def partition(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkPartition]:
    factory = partial(PartitionState, limits=StateLimits())
    monkeypatch.setattr("tests.raft_app.engine.engine_harness.ListMachine", factory)
    monkeypatch.setattr("broker_app.services.dead_letters.REFUSAL_PAUSE", Backoff(0.2, 0.2))
    cluster = EngineCluster()
    await cluster.start_all()
    for group_id in (SOURCE, TARGET):
        await cluster.create_group(group_id)
    made = WorkPartition(cluster)
    tasks = [asyncio.get_running_loop().create_task(one) for one in (made.tick(), made.follow())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for runtime in made.all:
        await runtime.stop()
    await cluster.stop_all()


class Workers:
    """Some workers of one group; every fifth message is too much for them."""

    def __init__(self, partition: WorkPartition) -> None:
        self.partition = partition
        self.settled = 0
        self.done: Counter[int] = Counter()
        """Offset -> acknowledgements that settled the message."""
        self.attempts: Counter[tuple[int, int]] = Counter()
        """(offset, number of the delivery) -> how often it was handed out."""

    async def run(self) -> None:
        while self.settled < MESSAGES:
            received = await self.partition.call(
                messages_receive,
                call=ReceiveCall(
                    group="workers",
                    max_messages=3,
                    visibility_ms=300,
                    delivery_limit=LIMIT,
                    dead_letter_topic="",
                    start=Start.EARLIEST,
                    wait_ms=20,
                    timeout_ms=100,
                ),
            )
            for delivery in received.deliveries:
                self.attempts[delivery.receipt.offset, delivery.receipt.attempt] += 1
                await self.settle(delivery)
            place = self.partition.place()
            if place is not None:
                work = state_of(place[1]).works.get("workers")
                self.settled = work.offset if work is not None else 0

    async def settle(self, delivery: ReceivedRecord) -> None:
        receipt = delivery.receipt
        kind = SettleKind.NACK if receipt.offset % 5 == 0 else SettleKind.ACK
        command = SettleMessages("workers", kind, [receipt])
        [outcome] = await self.partition.call(messages_settle, command=command, timeout_ms=100)
        if kind is SettleKind.ACK and outcome.done:
            self.done[receipt.offset] += 1


async def test_every_message_is_settled_or_a_dead_letter_through_lost_leaders(
    partition: WorkPartition,
) -> None:
    cluster = partition.cluster
    for number in range(MESSAGES // 3):
        values = [str(3 * number + place) for place in range(3)]
        request = batch_of(*values, producer_id=1, sequence=3 * number)
        await partition.call(batch_produce, producer_id=1, batch=request.batch, timeout_ms=100)
    workers = Workers(partition)
    *_, reached = await asyncio.gather(
        *(workers.run() for _ in range(WORKERS)), disturb(partition, workers)
    )
    assert reached[-1] < MESSAGES, "the stops came too late to disturb anything"

    # Each delivery was handed to one worker at most, and there were as many as allowed at most.
    assert max(workers.attempts.values()) == 1
    assert max(number for _, number in workers.attempts) <= LIMIT
    for group_id in (SOURCE, TARGET):
        replicas = [engine.replicas[group_id] for engine in cluster.engines.values()]
        await cluster.until(
            lambda replicas=replicas: len({one.applied.index for one in replicas}) == 1
        )
        states = [state_of(replica) for replica in replicas]
        assert len({state.snapshot() for state in states}) == 1
    leader = cluster.the_leader(SOURCE)
    work = state_of(leader.replicas[SOURCE]).works.get("workers")
    assert work is not None
    assert (work.offset, work.unsettled, work.dead) == (MESSAGES, {}, {})

    copies = sum(runtime.peers.posts for runtime in partition.all)
    letters = await stored(partition)
    assert copies > len(letters), "no copy was made again"

    # What was not acknowledged is a dead letter, once; the poisonous ones all are.
    assert max(Counter(letters).values()) == 1
    poison = {str(offset) for offset in range(0, MESSAGES, 5)}
    acknowledged = {str(offset) for offset in workers.done}
    assert poison <= set(letters)
    assert set(letters) | acknowledged == {str(offset) for offset in range(MESSAGES)}
    assert set(letters) & acknowledged == set()


async def disturb(partition: WorkPartition, workers: Workers) -> list[int]:
    """Stop and restart whoever leads, again and again; return how far the workers were then."""
    cluster, reached = partition.cluster, list[int]()
    for settled in (1, 12, 30):
        await cluster.until(lambda settled=settled: len(workers.done) >= settled)
        leader = cluster.leader()
        if leader is None:
            continue
        reached.append(workers.settled)
        await cluster.stop(leader.broker_id)
        await asyncio.sleep(PACE_SECONDS * 30)
        await cluster.start(leader.broker_id)
        await cluster.until(lambda: cluster.leader() is not None)
    return reached


async def stored(partition: WorkPartition) -> list[Any]:
    """Return the values of all dead letters."""
    leader = partition.cluster.the_leader(TARGET)
    end = state_of(leader.replicas[TARGET]).next_offset
    values: list[Any] = []
    while len(values) < end:
        batches = await leader.read_batches(TARGET, len(values), end, 1 << 20)
        values += [record.value for batch in batches for record in decode_records(batch.data)]
    return values
