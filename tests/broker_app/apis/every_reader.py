"""Every way to read a partition: a broker's API, and the library over it and in memory."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from broker_app.partition.commands import AppendBatch
from http_base.messages import message_answer
from myqueue import AsyncConsumer, AsyncWorker
from myqueue.contract.errors import CorruptBatch
from myqueue.contract.http1 import MEMORY
from myqueue.contract.http1 import Answer as ClientAnswer
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from myqueue.contract.records import decode_records, read_header
from myqueue.testing.aio_transport import AsyncMemoryTransport
from myqueue.testing.queue import InMemoryQueue, queue_at
from myqueue.transport.aio import ASYNC_TRANSPORTS
from myqueue.transport.fetching import read_fetched
from tests.broker_app.apis.conftest import Api, token_of
from tests.http_base.asgi_client import call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from myqueue.contract.http1 import Request
    from myqueue.contract.records import Record
    from myqueue.testing.partition import MemoryPartition
    from myqueue.transport.aio import AsyncExchange
    from tests.broker_app.engine_twin import EngineTwin

TOPIC = "fuzz"
Read = tuple[list[Any], int]
"""The messages, in the reader's own form, and how many it was told of as corrupt."""


class Stored:
    """One partition with the same batches in a broker and in a queue in memory.

    Args:
        engine: of the broker.
        app: the broker's API.
        group_id: of the partition, anew for each.
    """

    def __init__(self, engine: EngineTwin, app: Any, group_id: int) -> None:
        self._engine = engine
        self.app, self.api, self.group_id = app, Api(app), group_id
        self.queue = InMemoryQueue([TOPIC])
        self.expected: list[tuple[int, Record]] = []
        self.corrupt = self.end = 0
        engine.add(TOPIC, 0, group_id=group_id)

    @property
    def in_memory(self) -> MemoryPartition:
        """The partition of the queue in memory."""
        [partition] = self.queue._api.state.topics[TOPIC]
        return partition

    def close(self) -> None:
        """Forget it."""
        self.queue.close()
        self._engine.remove(self.group_id)
        self._engine.proposals.clear()

    async def plant(self, batch: bytes) -> None:
        """Store a batch that has a right header, past the check at the door."""
        request = AppendBatch(batch, read_header(batch))
        await self._engine.propose(self.group_id, request, timeout_ms=1_000)
        self.in_memory.plant(batch)
        self.expect(batch)

    def expect(self, batch: bytes) -> None:
        """Note what readers have to find in a batch that was stored."""
        try:
            self.expected += enumerate(decode_records(batch), self.end)
        except CorruptBatch:
            self.corrupt += read_header(batch).record_count
        self.end += read_header(batch).record_count

    async def check(self, ways: dict[str, Callable[[Stored], Awaitable[Read]]]) -> None:
        """Read in each way; fail unless it finds all there is, and tells how much is corrupt."""
        plain = [_of_record(offset, record) for offset, record in self.expected]
        shown = [_as_json(offset, record) for offset, record in self.expected]
        for way, read in ways.items():
            found, corrupt = await read(self)
            assert corrupt == self.corrupt, way
            wanted = shown if "JSON" in way else plain
            assert found == wanted, (way, found, wanted)


def _of_record(offset: int, record: Record) -> tuple[Any, ...]:
    return (offset, record.timestamp, record.key, record.value, record.headers)


def _as_json(offset: int, record: Record) -> dict[str, Any]:
    answer = message_answer(record, topic=TOPIC, partition=0, offset=offset, binary=False)
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(answer))
    return shown


def _picked(message: dict[str, Any], accept: str) -> Any:
    """Return a message of an answer in the form that is compared."""
    if accept == MSGPACK:
        names = ("offset", "timestamp", "key", "message", "headers")
        return tuple(message[name] for name in names)
    others = {"receipt", "delivery_count", "missed", "corrupt", "status"}
    return {name: value for name, value in message.items() if name not in others}


def _body(answer: Any, accept: str) -> dict[str, Any]:
    decode = msgspec.json.decode if accept == JSON else msgspec.msgpack.decode
    body: dict[str, Any] = decode(answer.body)
    return body


# A broker's API


async def _post_until_empty(stored: Stored, path: str, accept: str, **fields: Any) -> Read:
    found, corrupt = [], 0
    place = {"topic": TOPIC, "partition": 0, "max_messages": 7}
    while True:
        answer = await stored.api.send("POST", path, body={**place, **fields}, accept=accept)
        assert answer.status == 200, answer
        body = _body(answer, accept)
        assert body["missed"] == 0
        corrupt += body["corrupt"]
        if not body["messages"]:
            return found, corrupt
        found += [_picked(message, accept) for message in body["messages"]]


async def pop_singly(stored: Stored) -> Read:
    """Pop one by one."""
    found, corrupt = [], 0
    asked = {"topic": TOPIC, "partition": 0, "consumer_id": 903}
    while True:
        answer = await stored.api.send("POST", "/consumer/consume", body=asked)
        assert answer.status in (200, 404), answer
        corrupt += answer.json.get("corrupt", 0)
        if answer.status == 404:
            assert answer.json["code"] == "QUEUE_EMPTY", answer
            return found, corrupt
        found.append(_picked(answer.json, JSON))


async def _fetch(stored: Stored, accept: str) -> Read:
    found: list[Any] = []
    corrupt = offset = 0
    while offset < stored.end:
        query = {"topic": TOPIC, "partition": 0, "offset": offset}
        answer = await stored.api.send("GET", "/fetch", query=query, accept=accept)
        assert answer.status == 200, answer
        body = _body(answer, accept)
        assert body["next_offset"] > offset
        found += [_picked(message, accept) for message in body["messages"]]
        corrupt, offset = corrupt + body["corrupt"], body["next_offset"]
    return found, corrupt


async def fetch_batches(stored: Stored) -> Read:
    """Fetch batches as they are stored; the library decodes them."""
    found: list[Any] = []
    corrupt = offset = 0
    while offset < stored.end:
        query = {"topic": TOPIC, "partition": 0, "offset": offset}
        answer = await stored.api.send("GET", "/fetch", query=query, accept=BATCH)
        seen = ClientAnswer(answer.status, answer.headers, answer.body)
        fetched = read_fetched(seen, topic=TOPIC, partition=0, offset=offset)
        assert fetched.next_offset > offset
        found += [_of_message(message) for message in fetched.messages]
        corrupt, offset = corrupt + fetched.corrupt, fetched.next_offset
    return found, corrupt


async def _several(stored: Stored, accept: str, *, as_stored: bool = False) -> Read:
    """Fetch by the call that reads several partitions."""
    found: list[Any] = []
    corrupt = offset = 0
    while offset < stored.end:
        place = {"topic": TOPIC, "partition": 0, "offset": offset}
        asked = {"partitions": [place], "stored": as_stored}
        answer = await stored.api.send("POST", "/fetch", body=asked, accept=accept)
        assert answer.status == 200, answer
        [part] = _body(answer, accept)["partitions"]
        if as_stored:
            seen = ClientAnswer(200, {"content-type": BATCH}, part["batches"])
            fetched = read_fetched(seen, topic=TOPIC, partition=0, offset=offset)
            found += [_of_message(message) for message in fetched.messages]
            corrupt, next_offset = corrupt + fetched.corrupt, fetched.next_offset
        else:
            found += [_picked(message, accept) for message in part["messages"]]
            corrupt, next_offset = corrupt + part["corrupt"], part["next_offset"]
        assert next_offset > offset
        offset = next_offset
    return found, corrupt


API_WAYS: dict[str, Callable[[Stored], Awaitable[Read]]] = {
    "pops": lambda stored: _post_until_empty(stored, "/consumer/consume", MSGPACK, consumer_id=901),
    "pops in JSON": lambda stored: _post_until_empty(
        stored, "/consumer/consume", JSON, consumer_id=902
    ),
    "single pops in JSON": pop_singly,
    "fetch": lambda stored: _fetch(stored, MSGPACK),
    "fetch in JSON": lambda stored: _fetch(stored, JSON),
    "fetch as stored": fetch_batches,
    "fetch of several": lambda stored: _several(stored, MSGPACK),
    "fetch of several in JSON": lambda stored: _several(stored, JSON),
    "fetch of several as stored": lambda stored: _several(stored, MSGPACK, as_stored=True),
    "receive": lambda stored: _post_until_empty(stored, "/messages/receive", MSGPACK, group="g"),
    "receive in JSON": lambda stored: _post_until_empty(
        stored, "/messages/receive", JSON, group="h"
    ),
}


# The library


class _Exchange:
    """A request that is answered by a task."""

    def __init__(self, task: asyncio.Task[ClientAnswer]) -> None:
        self.task = task

    async def answer(self, patience_s: float | None = None) -> ClientAnswer | None:
        await asyncio.wait((self.task,), timeout=patience_s)
        return self.task.result() if self.task.done() else None

    def cancel(self) -> None:
        self.task.cancel()


class _OverBroker:
    """The library's requests: a queue in memory is the managers, the API is the broker."""

    def __init__(self, queue: InMemoryQueue, app: Any) -> None:
        self._queue, self._app = queue, app
        self._managers = AsyncMemoryTransport(queue)

    async def begin(self, address: str, request: Request, *, timeout_s: float) -> _Exchange:
        answer = self._ask(address, request, timeout_s)
        return _Exchange(asyncio.get_running_loop().create_task(answer))

    async def _ask(self, address: str, request: Request, timeout_s: float) -> ClientAnswer:
        if address == self._queue.address:
            exchange = await self._managers.begin(address, request, timeout_s=timeout_s)
            found = await exchange.answer()
            assert found is not None
            return found
        headers, body = {"accept": request.accept}, b""
        if request.token:
            headers["authorization"] = f"Bearer {_signed(request.token)}"
        if request.body:
            headers["content-type"] = request.content_type
            fields = msgspec.msgpack.decode(request.body)
            if fields.get("token"):
                fields["token"] = _signed(fields["token"])
            if fields.get("tokens"):
                fields["tokens"] = {one: _signed(text) for one, text in fields["tokens"].items()}
            body = msgspec.msgpack.encode(fields)
        target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        answer = await call(self._app, request.method, target, body=body, headers=headers)
        assert answer is not None
        return ClientAnswer(answer.status, answer.headers, answer.body)

    async def wait(
        self, exchanges: Sequence[AsyncExchange], *, timeout_s: float
    ) -> list[AsyncExchange]:
        tasks = [one.task for one in exchanges if isinstance(one, _Exchange)]
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return [one for one in exchanges if isinstance(one, _Exchange) and one.task.done()]

    def close(self) -> None:
        pass


def _signed(token: str) -> str:
    """Return the token of a cluster for the client whose token of a queue in memory this is."""
    return token_of("consumer", int(token.rpartition("-")[2]), TOPIC)


@contextmanager
def _over(app: Any) -> Iterator[None]:
    """Let the library's requests to brokers go to an API."""
    before = ASYNC_TRANSPORTS[MEMORY]
    ASYNC_TRANSPORTS[MEMORY] = lambda address: _OverBroker(queue_at(address), app)
    try:
        yield
    finally:
        ASYNC_TRANSPORTS[MEMORY] = before


def _of_message(message: Any) -> tuple[Any, ...]:
    return (message.offset, message.timestamp, message.key, message.value, message.headers)


async def _poll(stored: Stored, **options: Any) -> Read:
    found: list[Any] = []
    async with AsyncConsumer(TOPIC, stored.queue.address, **options) as consumer:
        while messages := await consumer.poll(7):
            found += [_of_message(message) for message in messages]
        if options:
            await consumer.commit()
            assert [one.messages for one in await consumer.lag()] == [0]
        return found, consumer.corrupt().get((TOPIC, 0), 0)


async def _work(stored: Stored, group: str) -> Read:
    found: list[Any] = []
    async with AsyncWorker(TOPIC, stored.queue.address, group) as worker:
        while deliveries := await worker.receive(7, timeout=0):
            found += [_of_message(delivery) for delivery in deliveries]
            await worker.ack(*deliveries)
        assert worker.missed == 0
        return found, worker.corrupt


async def _fetch_all(stored: Stored) -> Read:
    found: list[Any] = []
    corrupt = offset = 0
    async with AsyncConsumer(TOPIC, stored.queue.address) as consumer:
        while offset < stored.end:
            fetched = await consumer.fetch(TOPIC, 0, offset)
            assert fetched.next_offset > offset
            found += [_of_message(message) for message in fetched.messages]
            corrupt, offset = corrupt + fetched.corrupt, fetched.next_offset
        return found, corrupt


IN_MEMORY: dict[str, Callable[[Stored], Awaitable[Read]]] = {
    "consumer in memory": _poll,
    "group member in memory": lambda stored: _poll(stored, group="members"),
    "worker in memory": lambda stored: _work(stored, "workers"),
    "fetch in memory": _fetch_all,
}


def _through(way: Callable[[Stored], Awaitable[Read]]) -> Callable[[Stored], Awaitable[Read]]:
    async def read(stored: Stored) -> Read:
        with _over(stored.app):
            return await way(stored)

    return read


OVER_BROKER = {
    way.replace("in memory", "over the broker"): _through(read) for way, read in IN_MEMORY.items()
}
EVERY_WAY = {**API_WAYS, **OVER_BROKER, **IN_MEMORY}
