"""Three brokers with the real engine: what nobody can decode is stepped over by all alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from broker_app.partition.commands import AppendBatch, SettleMessages, Start
from broker_app.runtime import state_of
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.work import ReceiveCall, messages_receive, messages_settle
from myqueue.contract.records import Record, encode_batch, read_header, request_digest
from myqueue.contract.rules.work import SettleKind
from tests.batches import crafted, rows, undecodable
from tests.broker_app.test_with_engine import disturb, partition

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.replica import Replica
    from tests.broker_app.test_with_engine import Partition

__all__ = ["partition"]
GOOD = 40
CONSUMER = 5


async def store(*, runtime: BrokerRuntime, replica: Replica, batch: bytes) -> None:
    """Append past the check at the door."""
    request = AppendBatch(batch, read_header(batch))
    await runtime.engine.propose(replica.spec.group_id, request, timeout_ms=5_000)


async def fill(partition: Partition) -> int:
    """Append good batches with others between that nobody can decode; return how many are bad."""
    kinds, bad = list(undecodable().values()), 0
    for number in range(GOOD):
        await partition.call(store, batch=encode_batch([Record(str(number))]))
        long = crafted(rows(*[b"\x07"] * 7), record_count=7)
        for batch in (kinds[number % len(kinds)], *[long] * (number % 3)):
            await partition.call(store, batch=batch)
            bad += read_header(batch).record_count
    return bad


async def pop_all(partition: Partition) -> tuple[list[Any], int]:
    values: list[Any] = []
    corrupt = number = 0
    while len(values) < GOOD:
        number += 1
        call = PopCall(
            consumer_id=CONSUMER,
            max_messages=2,
            max_bytes=1 << 20,
            wait_ms=0,
            timeout_ms=200,
            request_digest=request_digest(f"request {number}"),
        )
        popped = await partition.call(messages_pop, call=call)
        values += [record.value for _, record in popped.messages]
        corrupt += popped.corrupt
        await asyncio.sleep(0.01)
    return values, corrupt


async def work_all(partition: Partition) -> set[Any]:
    values: set[Any] = set()
    while len(values) < GOOD:
        call = ReceiveCall(
            group="workers",
            max_messages=3,
            visibility_ms=10,
            delivery_limit=100,
            dead_letter_topic="",
            start=Start.EARLIEST,
            wait_ms=20,
            timeout_ms=200,
        )
        received = await partition.call(messages_receive, call=call)
        values |= {delivery.record.value for delivery in received.deliveries}
        receipts = [delivery.receipt for delivery in received.deliveries]
        command = SettleMessages("workers", SettleKind.ACK, receipts)
        await partition.call(messages_settle, command=command, timeout_ms=200)
    return values


async def test_every_replica_moves_alike_through_lost_leaders(partition: Partition) -> None:
    bad = await fill(partition)
    (popped, corrupt), worked, _ = await asyncio.gather(
        pop_all(partition), work_all(partition), disturb(partition)
    )
    expected = [str(number) for number in range(GOOD)]
    assert popped == expected, "in order, each once"
    assert worked == set(expected)
    assert 0 < corrupt <= bad
    last = await partition.call(
        messages_pop,
        call=PopCall(
            consumer_id=CONSUMER, max_messages=1, max_bytes=1, wait_ms=0, timeout_ms=2_000
        ),
    )
    assert last.messages == []
    cluster = partition.cluster
    groups = [engine.replicas[1] for engine in cluster.engines.values()]
    await cluster.until(lambda: len({replica.applied.index for replica in groups}) == 1)
    states = [state_of(replica) for replica in groups]
    assert [state.applied_cursor(CONSUMER) for state in states] == [GOOD + bad] * 3
    assert len({state.snapshot() for state in states}) == 1
