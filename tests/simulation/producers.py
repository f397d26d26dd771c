"""Producers of one group: with sequences, and with request ids."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from broker_app.services.produce import batch_produce
from myqueue.contract.errors import OutOfOrderSequence, QueueError, UnknownProducer
from myqueue.contract.records import Record, encode_batch, request_digest
from tests.simulation.asking import TIMEOUT_MS
from tests.simulation.disk import RESERVE_BYTES

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.clients import Clients


async def produce(clients: Clients, broker: Broker, producer_id: int, batch: bytes) -> Any:
    """Have a broker append a batch, and see that it does not while its disk is full."""
    # It may not have looked since room was made; and be full again before it does.
    full = broker.engine.disk.full and broker.disk.free_bytes < RESERVE_BYTES
    room_made = broker.disk.room_made
    appended = await batch_produce(
        runtime=broker.runtime,
        replica=broker.engine.replica(clients.group_id),
        producer_id=producer_id,
        batch=batch,
        timeout_ms=TIMEOUT_MS,
    )
    watch = clients.simulation.watch
    with watch.guard():
        is_full = full and room_made == broker.disk.room_made
        watch.admission.accepted(broker.broker_id, is_full=is_full)
    return appended


class Producer:
    """An idempotent producer: its batches carry sequences, several are under way."""

    def __init__(self, clients: Clients, producer_id: int) -> None:
        self._clients = clients
        self._producer_id = producer_id
        self._next = 0
        self._in_flight = clients.simulation.plan.batches_in_flight

    async def run(self) -> None:
        """Produce until told to stop; the oldest batch is never far behind the newest one."""
        clients = self._clients
        under_way: deque[asyncio.Task[None]] = deque()
        while clients.writing:
            await clients.pause()
            if len(under_way) >= self._in_flight:
                await under_way.popleft()
            count = clients.random.choice((1, 1, 2, 5))
            values = [f"{self._producer_id}/{self._next + n}" for n in range(count)]
            under_way.append(clients.simulation.spawn(self._send(values, self._next)))
            self._next += count
        for task in under_way:
            await task

    async def _send(self, values: list[str], sequence: int) -> None:
        clients = self._clients
        size = clients.random.choice((0, 10, 200))
        records = [Record(value, key="k" * size, timestamp=1) for value in values]
        batch = encode_batch(records, producer_id=self._producer_id, base_sequence=sequence)
        clients.history.proposed(values)

        async def serve(broker: Broker) -> Any:
            return await produce(clients, broker, self._producer_id, batch)

        while True:
            answer = await clients.until_known("produces", serve)
            if not isinstance(answer, OutOfOrderSequence | UnknownProducer):
                break
            clients.check(
                self._in_flight > 1,
                "batch %s of producer %s: %s",
                sequence,
                self._producer_id,
                answer,
            )
            await clients.pause()
        clients.check(not isinstance(answer, QueueError), "%s: %r", values, answer)
        with clients.simulation.watch.guard():
            clients.history.appended(values, answer.base_offset)


class RequestProducer:
    """A producer whose batches are recognised by request ids."""

    def __init__(self, clients: Clients, producer_id: int) -> None:
        self._clients = clients
        self._producer_id = producer_id

    async def run(self) -> None:
        """Produce until told to stop."""
        clients, number = self._clients, 0
        while clients.writing:
            await clients.pause()
            values = [f"{self._producer_id}/{number + n}" for n in range(2)]
            number += 2
            batch = encode_batch(
                [Record(value, timestamp=1) for value in values],
                producer_id=self._producer_id,
                request_digest=request_digest(values[0]),
            )
            clients.history.proposed(values)

            async def serve(broker: Broker, batch: bytes = batch) -> Any:
                return await produce(clients, broker, self._producer_id, batch)

            answer = await clients.until_known("produces", serve)
            clients.check(not isinstance(answer, QueueError), "%s: %r", values, answer)
            with clients.simulation.watch.guard():
                clients.history.appended(values, answer.base_offset)
