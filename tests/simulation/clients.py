"""The clients of one group: they repeat whatever they got no answer to, until they get one."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from broker_app.commands import SetRetention
from broker_app.selectors.fetch import batches_fetch
from broker_app.selectors.offsets import size_get
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.cursors import cursor_open
from broker_app.services.produce import batch_produce
from broker_app.services.retention import retention_set
from myqueue.errors import (
    CommitTimeout,
    NoLeader,
    NotLeader,
    OffsetOutOfRange,
    OutOfOrderSequence,
    Overloaded,
    PartitionNotFound,
    QueueError,
    UnknownProducer,
)
from myqueue.records import Record, decode_records, encode_batch, request_digest
from tests.raft_app.core.simulation.checker import Checker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.simulation.broker import Broker
    from tests.simulation.history import History
    from tests.simulation.simulation import Simulation

PATIENCE_SECONDS = 2.0
"""How long a client waits for an answer."""
TIMEOUT_MS = 800
STRAY = 0.1
"""Part of the requests that go to any broker, also one that only believes to lead."""
WAIT_MS_MAX = 300
PASSING = (NotLeader, NoLeader, CommitTimeout, Overloaded, PartitionNotFound)
"""Refusals after which a client simply tries again."""


class Answers(Checker):
    """Clients get the answers that they may expect."""


class Clients:
    """All clients of one group.

    Attributes:
        writing: new messages are produced.
        active: consumers and readers go on.
    """

    def __init__(self, simulation: Simulation, group_id: int) -> None:
        self.simulation = simulation
        self.group_id = group_id
        self.random = simulation.random
        self.history: History = simulation.watch.groups[group_id].history
        self.answers = Answers()
        self.writing = True
        self.active = True
        self._leader = 1
        self._log_start = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to produce and consume."""
        plan, first = self.simulation.plan, 100 * self.group_id
        work = [
            *(Producer(self, first + n).run() for n in range(plan.producer_count)),
            RequestProducer(self, first + 20).run(),
            *(Consumer(self, first + 40 + n).run() for n in range(plan.consumer_count)),
            Reader(self).run(),
            self._set_retention(),
        ]
        self._tasks = [self.simulation.spawn(one) for one in work]

    @property
    def are_done(self) -> bool:
        """Everybody has got all answers."""
        return all(task.done() for task in self._tasks)

    async def pause(self) -> None:
        """Wait a moment."""
        await asyncio.sleep(self.simulation.plan.client_pause * 2 * self.random.random())

    async def until_known(self, what: str, serve: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Ask until an answer comes; return it, or a `QueueError` that does not pass."""
        while True:
            if self.random.random() < STRAY:
                self._leader = self.random.choice(list(self.simulation.brokers))
            answer = await self.ask(self._leader, serve)
            self.simulation.note(what, self.group_id, type(answer).__name__)
            match answer:
                case NotLeader(details={"leader": {"broker_id": int(broker_id)}}):
                    self._leader = broker_id
                case None | NotLeader() | NoLeader() | PartitionNotFound():
                    self._leader = self.random.choice(list(self.simulation.brokers))
                case _ if not isinstance(answer, PASSING):
                    return answer
            await asyncio.sleep(0.02 + 0.1 * self.random.random())

    async def ask(self, broker_id: int, serve: Callable[[Broker], Awaitable[Any]]) -> Any:
        """Ask a broker once; return its answer or `QueueError`, None when none came."""
        simulation = self.simulation
        broker, later, delay = (
            simulation.brokers[broker_id],
            simulation.network.later,
            simulation.network.delay,
        )
        loss = simulation.network.links.loss
        reply: asyncio.Future[tuple[Any]] = simulation.loop.create_future()

        def answer(result: Any) -> None:
            if self.random.random() >= loss:
                later(delay(), resolve, result)

        def resolve(result: Any) -> None:
            if not reply.done():
                reply.set_result((result,))

        if self.random.random() >= loss:
            later(delay(), broker.serve, serve, answer)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return (await reply)[0]
        except TimeoutError:
            return None

    def check(self, holds: bool, message: str, *values: object) -> None:
        """Fail the run unless something holds."""
        with self.simulation.watch.guard():
            self.answers.require(holds, message, *values)

    def log_start_offset(self) -> int:
        """Return the highest log start offset that any replica knows."""
        brokers = self.simulation.brokers.values()
        groups = [broker.groups.get(self.group_id) for broker in brokers]
        starts = [group.state_machine.log_start_offset for group in groups if group is not None]
        self._log_start = max([self._log_start, *starts])
        return self._log_start

    async def _set_retention(self) -> None:
        wanted = self.simulation.plan.retention
        if wanted == SetRetention():
            return

        async def serve(broker: Broker) -> bool:
            group = broker.engine.group(self.group_id)
            if not group.serves:
                raise group.not_leader()
            return await retention_set(runtime=broker.runtime, group=group, wanted=wanted)

        await self.until_known("retention", serve)


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
            return await batch_produce(
                runtime=broker.runtime,
                group=broker.engine.group(clients.group_id),
                producer_id=self._producer_id,
                batch=batch,
                timeout_ms=TIMEOUT_MS,
            )

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
                return await batch_produce(
                    runtime=broker.runtime,
                    group=broker.engine.group(clients.group_id),
                    producer_id=self._producer_id,
                    batch=batch,
                    timeout_ms=TIMEOUT_MS,
                )

            answer = await clients.until_known("produces", serve)
            clients.check(not isinstance(answer, QueueError), "%s: %r", values, answer)
            with clients.simulation.watch.guard():
                clients.history.appended(values, answer.base_offset)


class Consumer:
    """Pops with request ids and asks for sizes, one thing at a time."""

    def __init__(self, clients: Clients, consumer_id: int) -> None:
        self._clients = clients
        self._consumer_id = consumer_id
        self._cursor = 0
        """The next offset, or a lower bound while it is not known."""
        self._is_known = False
        self._pops = 0

    async def run(self) -> None:
        """Consume until told to stop, and then until nothing is left."""
        clients = self._clients
        await clients.until_known("opens", self._open)
        while clients.active:
            await clients.pause()
            if clients.random.random() < 0.3:
                await self._ask_size()
            else:
                await self._pop()

    async def _open(self, broker: Broker) -> Any:
        return await cursor_open(
            runtime=broker.runtime,
            group=broker.engine.group(self._clients.group_id),
            consumer_id=self._consumer_id,
            start="earliest",
            timeout_ms=TIMEOUT_MS,
        )

    async def _pop(self) -> None:
        clients, history = self._clients, self._clients.history
        self._pops += 1
        call = PopCall(
            consumer_id=self._consumer_id,
            max_messages=clients.random.choice((1, 3, 20)),
            max_bytes=clients.random.choice((1, 1_000, 1 << 20)),
            wait_ms=clients.random.choice((0, 0, WAIT_MS_MAX)),
            timeout_ms=TIMEOUT_MS,
            request_digest=request_digest(f"{self._consumer_id}/{self._pops}"),
        )

        async def serve(broker: Broker) -> Any:
            group = broker.engine.group(clients.group_id)
            return await messages_pop(runtime=broker.runtime, group=group, call=call)

        floor = history.seen
        answer = await clients.until_known("pops", serve)
        if isinstance(answer, OffsetOutOfRange):
            self._is_known = False  # What it popped is gone before it was returned.
            return
        clients.check(not isinstance(answer, QueueError), "pop: %r", answer)
        with clients.simulation.watch.guard():
            if not answer.records:
                highest = max(answer.first_offset, clients.log_start_offset())
                history.watermark(self._cursor, highest, floor=floor)
                self._moved_by_retention(answer.first_offset)
                return
            values = [str(record.value) for record in answer.records]
            history.returned(values, answer.first_offset)
        begin = answer.first_offset - answer.missed
        clients.check(
            begin == self._cursor if self._is_known else begin >= self._cursor,
            "consumer %s gets messages from %s, %s missed, after %s",
            self._consumer_id,
            answer.first_offset,
            answer.missed,
            self._cursor,
        )
        self._cursor, self._is_known = answer.first_offset + len(values), True
        history.popped += len(values)

    def _moved_by_retention(self, offset: int) -> None:
        """An empty answer names the cursor, which retention may have moved up."""
        self._clients.check(
            offset >= self._cursor,
            "consumer %s is at %s after %s",
            self._consumer_id,
            offset,
            self._cursor,
        )

    async def _ask_size(self) -> None:
        clients, history = self._clients, self._clients.history

        async def serve(broker: Broker) -> int:
            return await size_get(
                runtime=broker.runtime,
                group=broker.engine.group(clients.group_id),
                consumer_id=self._consumer_id,
                wait_ms=0,
                timeout_ms=TIMEOUT_MS,
            )

        floor = history.seen
        size = await clients.until_known("asks", serve)
        if self._is_known:
            cursor = max(self._cursor, clients.log_start_offset())
            with clients.simulation.watch.guard():
                history.watermark(self._cursor + size, cursor + size, floor=floor)


class Reader:
    """Fetches from any replica, from any offset."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def run(self) -> None:
        """Fetch until told to stop."""
        clients, history = self._clients, self._clients.history
        while clients.active:
            await clients.pause()
            offset = clients.random.randrange(len(history.messages) + 2)

            async def serve(broker: Broker, offset: int = offset) -> Any:
                return await batches_fetch(
                    runtime=broker.runtime,
                    group=broker.engine.group(clients.group_id),
                    offset=offset,
                    max_bytes=1_000,
                    wait_ms=100,
                )

            broker_id = clients.random.choice(list(clients.simulation.brokers))
            answer = await clients.ask(broker_id, serve)
            if answer is None or isinstance(answer, (*PASSING, OffsetOutOfRange)):
                continue
            clients.check(not isinstance(answer, QueueError), "fetch: %r", answer)
            self._check(answer, offset)

    def _check(self, answer: Any, offset: int) -> None:
        clients, history = self._clients, self._clients.history
        with clients.simulation.watch.guard():
            history.watermark(answer.high_watermark, answer.high_watermark, floor=0)
            for batch in answer.batches:
                values = [str(record.value) for record in decode_records(batch.data)]
                history.returned(values, batch.base_offset)
                clients.check(
                    batch.base_offset <= offset < batch.base_offset + batch.record_count,
                    "fetch from %s gives the batch at %s",
                    offset,
                    batch.base_offset,
                )
                offset = batch.base_offset + batch.record_count
