"""Consumers of one group with cursors of their own, and readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker_app.partition.commands import Start
from broker_app.selectors.fetch import batches_fetch
from broker_app.selectors.offsets import size_get
from broker_app.services.consume import PopCall, messages_pop
from broker_app.services.cursors import cursor_open
from myqueue.contract.errors import OffsetOutOfRange, QueueError
from myqueue.contract.records import decode_records, request_digest
from tests.simulation.asking import PASSING, TIMEOUT_MS, WAIT_MS_MAX

if TYPE_CHECKING:
    from tests.simulation.broker import Broker
    from tests.simulation.clients import Clients


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
            replica=broker.engine.replica(self._clients.group_id),
            consumer_id=self._consumer_id,
            start=Start.EARLIEST,
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
            replica = broker.engine.replica(clients.group_id)
            return await messages_pop(runtime=broker.runtime, replica=replica, call=call)

        floor = history.seen
        answer = await clients.until_known("pops", serve)
        if isinstance(answer, OffsetOutOfRange):
            self._is_known = False  # What it popped is gone before it was returned.
            return
        clients.check(not isinstance(answer, QueueError), "pop: %r", answer)
        with clients.simulation.watch.guard():
            if not answer.messages:
                highest = max(answer.first_offset, history.log_start_offset)
                history.watermark(self._cursor, highest, floor=floor)
                self._moved_by_retention(answer.first_offset)
                return
            values = [str(record.value) for _, record in answer.messages]
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
            left = await size_get(
                runtime=broker.runtime,
                replica=broker.engine.replica(clients.group_id),
                consumer_id=self._consumer_id,
                wait_ms=0,
                timeout_ms=TIMEOUT_MS,
            )
            return left.size

        floor = history.seen
        size = await clients.until_known("asks", serve)
        if self._is_known:
            cursor = max(self._cursor, history.log_start_offset)
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
                replica = broker.engine.replica(clients.group_id)
                fault = replica.faulty
                found = await batches_fetch(
                    runtime=broker.runtime,
                    replica=replica,
                    offset=offset,
                    max_bytes=1_000,
                    wait_ms=100,
                )
                with clients.simulation.watch.guard():
                    silence = clients.simulation.watch.groups[clients.group_id].silence
                    silence.reads(broker.broker_id, fault)
                return found

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
