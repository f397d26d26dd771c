"""Managers and brokers in memory: the API of the contract, with every way of failing at hand.

`MemoryTransport` calls it directly in virtual time; `http_twin.py` puts it behind real sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from myqueue import protocol
from myqueue.errors import (
    BrokerAlreadyPresent,
    ClientExpired,
    ClientNotFound,
    CommitTimeout,
    NoLeader,
    NotFound,
    NotLeader,
    OffsetOutOfRange,
    PartitionNotFound,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.http1 import Answer, Request
from myqueue.protocol import BATCH, JSON, MSGPACK, read_input
from myqueue.records import encode_batch, frame_batches
from tests.myqueue.faults import DroppedError, Fault
from tests.myqueue.memory_transport import MemoryExchange, MemoryTransport
from tests.myqueue.partition_twin import PartitionTwin

__all__ = ["ClusterTwin", "DroppedError", "Fault", "MemoryExchange", "MemoryTransport"]


@dataclass
class ClusterTwin:
    """The whole cluster's state."""

    manager: str = "http://manager:80"
    brokers: list[str] = field(default_factory=lambda: [f"http://broker-{n}:80" for n in "123"])
    topics: dict[str, list[PartitionTwin]] = field(default_factory=dict)
    wait: Callable[[Callable[[], bool], float], bool] = lambda predicate, _: predicate()
    """Waits for a predicate, at most so many seconds."""

    def __post_init__(self) -> None:
        self.down: set[str] = set()
        self.faults: list[Fault] = []
        self.chaos: Random | None = None
        self.clients: dict[int, tuple[str, str]] = {}
        self.expired: set[int] = set()
        self.stale_leaders: dict[tuple[str, int], str] = {}
        """What the manager still says about a partition's leader."""
        self.requests: list[tuple[str, str, str]] = []
        self.beats: list[tuple[int, int]] = []
        self._next_id = 1

    # Setting the scene

    def create(self, topic: str, partitions: int = 1) -> list[PartitionTwin]:
        self.topics[topic] = [
            PartitionTwin(self.brokers[index % len(self.brokers)]) for index in range(partitions)
        ]
        return self.topics[topic]

    def fail(
        self,
        path: str,
        error: QueueError | None = None,
        *,
        applied: bool = False,
        times: int = 1,
        at: str | None = None,
    ) -> None:
        """Have the next requests for a path fail."""
        self.faults.append(
            Fault(
                lambda address, asked: asked == path and at in (None, address),
                error,
                applied=applied,
                times=times,
            )
        )

    def asked(self, path: str) -> list[str]:
        """Return the addresses that were asked for a path, in order."""
        return [address for address, _, asked in self.requests if asked == path]

    def messages(self, topic: str) -> list[str | bytes]:
        return [value for partition in self.topics[topic] for value in partition.values]

    # Answering

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request.

        Raises:
            DroppedError: the connection breaks before an answer.
        """
        parts = urlsplit(request.path)
        query = {**dict(parse_qsl(parts.query)), **(request.query or {})}
        request = request._replace(path=parts.path, query={k: str(v) for k, v in query.items()})
        self.requests.append((address, request.method, request.path))
        fault = self._fault(address, request.path)
        if fault is None:
            return self._answer(address, request)
        if fault.applied:
            answer = self._answer(address, request)
            if answer.status >= 400:
                return answer
        if fault.error is None:
            raise DroppedError
        return _failure(fault.error)

    def _fault(self, address: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.matches(address, path):
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault
        if self.chaos is not None and self.chaos.random() < 0.3:
            return self._chaotic_fault(self.chaos)
        return None

    def _chaotic_fault(self, chance: Random) -> Fault:
        for partitions in self.topics.values():
            for partition in partitions:
                if chance.random() < 0.3:
                    partition.leader = chance.choice(self.brokers)
        applied = chance.random() < 0.5
        return Fault(lambda *_: True, chance.choice([None, CommitTimeout()]), applied=applied)

    def _answer(self, address: str, request: Request) -> Answer:
        try:
            handler = self._handler(address, request)
            result = handler(request)
        except QueueError as error:
            return _failure(error)
        if isinstance(result, Answer):
            return result
        body = msgspec.msgpack.encode({"status": "success", **result})
        return Answer(200, {"content-type": MSGPACK}, body)

    def _handler(self, address: str, request: Request) -> Callable[[Request], Any]:
        both: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("POST", "/producer/produce"): self._produce,
            ("POST", "/consumer/consume"): self._consume,
            ("GET", "/size"): self._size,
        }
        found = both.get((request.method, request.path))
        if found is not None:
            return lambda asked: found(address, asked)
        if address != self.manager:
            if request.path == "/fetch":
                return self._fetch
            raise NotFound(f"{request.path} is not here")
        fixed: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("POST", "/topics"): self._create_topic,
            ("GET", "/topics"): lambda _: {"topics": list(self.topics)},
            ("GET", "/brokers"): self._list_brokers,
            ("POST", "/brokers"): self._add_broker,
            ("POST", "/producer/register"): self._register,
            ("POST", "/consumer/register"): self._register,
            ("GET", "/health"): self._health,
        }
        if (request.method, request.path) in fixed:
            return fixed[request.method, request.path]
        kind = request.path.split("/")[1]
        if kind == "topics":
            return self._topic
        if request.method == "DELETE" and kind in ("producers", "consumers"):
            return self._forget
        raise NotFound(f"{request.path} is not here")

    # Manager

    def _create_topic(self, request: Request) -> dict[str, Any]:
        call = read_input(protocol.TopicCreate, _body(request))
        if call.topic in self.topics:
            raise TopicAlreadyExists(f"topic {call.topic!r} exists")
        self.create(call.topic, call.number_of_partitions)
        return {"topic": call.topic, "partitions": call.number_of_partitions}

    def _topic(self, request: Request) -> dict[str, Any]:
        topic = unquote(request.path.removeprefix("/topics/"))
        partitions = self._partitions(topic)
        if request.method == "DELETE":
            del self.topics[topic]
            return {}
        replicas = [{"broker_id": n, "address": a} for n, a in enumerate(self.brokers, 1)]
        rows = []
        for index, partition in enumerate(partitions):
            leader = self.stale_leaders.get((topic, index), partition.leader)
            known = [one for one in replicas if one["address"] == leader]
            rows.append(
                {"partition": index, "leader": known[0] if known else None, "replicas": replicas}
            )
        return {"topic": topic, "partitions": rows}

    def _list_brokers(self, request: Request) -> dict[str, Any]:
        if (request.query or {}).get("detail"):
            return {"brokers": [{"address": a, "state": "alive"} for a in self.brokers]}
        return {"brokers": self.brokers}

    def _add_broker(self, request: Request) -> dict[str, Any]:
        call = read_input(protocol.BrokerCreate, _body(request))
        if call.broker_address in self.brokers:
            raise BrokerAlreadyPresent(f"{call.broker_address} is known")
        self.brokers.append(call.broker_address)
        return {}

    def _register(self, request: Request) -> dict[str, Any]:
        kind = request.path.split("/")[1]
        cls = protocol.ProducerRegister if kind == "producer" else protocol.ConsumerRegister
        call: Any = read_input(cls, _body(request))
        if call.topic not in self.topics:
            if kind == "consumer":
                raise TopicDoesNotExist(f"topic {call.topic!r} does not exist")
            self.create(call.topic, 3)
        given = getattr(call, f"{kind}_id")
        if given is not None:
            if self.clients.get(given) != (kind, call.topic) or call.token != f"token-{given}":
                raise UnauthorizedException(f"{kind} {given} is not known")
            self.expired.discard(given)
        else:
            given, self._next_id = self._next_id, self._next_id + 1
            self.clients[given] = (kind, call.topic)
            if kind == "consumer" and call.start == "latest":
                for partition in self.topics[call.topic]:
                    partition.cursors[given] = len(partition.records)
        return {f"{kind}_id": given, "token": f"token-{given}"}

    def _health(self, request: Request) -> dict[str, Any]:
        call = read_input(protocol.Health, None, request.query)
        kinds = {0: "consumer", 1: "producer"}
        self.beats.append((call.type, int(call.key)))
        if self.clients.get(int(call.key), ("",))[0] != kinds[call.type]:
            raise ClientNotFound(f"no such client: {call.key}")
        if call.key in self.expired:
            raise ClientExpired(f"client {call.key} expired")
        return {}

    def _forget(self, request: Request) -> dict[str, Any]:
        _, kind, given = request.path.split("/")
        if self.clients.pop(int(given), None) is None:
            raise ClientNotFound(f"no such {kind}: {given}")
        return {}

    # Both

    def _partitions(self, topic: str) -> list[PartitionTwin]:
        if topic not in self.topics:
            raise TopicDoesNotExist(f"topic {topic!r} does not exist")
        return self.topics[topic]

    def _partition(self, address: str, topic: str, index: int) -> PartitionTwin:
        partitions = self._partitions(topic)
        if not 0 <= index < len(partitions):
            raise PartitionNotFound(f"topic {topic!r} has no partition {index}")
        partition = partitions[index]
        if address == self.manager:
            if not partition.leader or partition.leader in self.down:
                raise NoLeader(f"{topic}/{index} elects")
        elif address != partition.leader:
            leader = {"broker_id": 1, "address": partition.leader} if partition.leader else None
            raise NotLeader(f"{address} does not lead {topic}/{index}", leader=leader)
        return partition

    def _authorize(self, request: Request, kind: str, client_id: int, topic: str) -> None:
        if self.clients.get(client_id) != (kind, topic) or request.token != f"token-{client_id}":
            raise UnauthorizedException(f"{kind} {client_id} is not registered for {topic!r}")
        if client_id in self.expired:
            raise ClientExpired(f"{kind} {client_id} expired")

    def _produce(self, address: str, request: Request) -> dict[str, Any]:
        if request.content_type == BATCH:
            assert address != self.manager, "a manager takes no batches"
            head = read_input(protocol.ProduceBatch, None, request.query)
            self._authorize(request, "producer", head.producer_id, head.topic)
            partition = self._partition(address, head.topic, head.partition)
            base_offset = partition.append(request.body)
            return {"partition": head.partition, "base_offset": base_offset}
        call = read_input(protocol.Produce, _body(request))
        self._authorize(request, "producer", call.producer_id, call.topic)
        assert call.partition is not None, "the library names the partition"
        partition = self._partition(address, call.topic, call.partition)
        batch = encode_batch(
            protocol.records_of(call, 0),
            producer_id=call.producer_id,
            producer_epoch=call.producer_epoch or 0,
            base_sequence=-1 if call.base_sequence is None else call.base_sequence,
        )
        return {"partition": call.partition, "offset": partition.append(batch)}

    def _consume(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(protocol.Consume, _body(request))
        self._authorize(request, "consumer", call.consumer_id, call.topic)
        assert call.partition is not None, "the library names the partition"
        assert call.request_id is not None, "the library names the request"
        assert call.max_messages is not None, "the library says how many"
        index = call.partition
        self._partition(address, call.topic, index)
        offsets = range(0)

        def popped() -> bool:
            nonlocal offsets
            partition = self._partition(address, call.topic, index)
            offsets = partition.pop(call.consumer_id, call.max_messages or 1, call.request_id)
            return len(offsets) > 0

        self.wait(popped, call.wait_ms / 1000)
        records = self.topics[call.topic][index].records
        return {
            "messages": [
                {
                    "message": records[offset].value,
                    "key": records[offset].key,
                    "headers": records[offset].headers,
                    "timestamp": records[offset].timestamp,
                    "partition": index,
                    "offset": offset,
                }
                for offset in offsets
            ]
        }

    def _size(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(protocol.Size, None, request.query)
        self._authorize(request, "consumer", call.consumer_id, call.topic)
        assert call.partition is not None, "the library names the partition"
        partition = self._partition(address, call.topic, call.partition)
        self.wait(lambda: partition.size(call.consumer_id) > 0, call.wait_ms / 1000)
        return {"size": partition.size(call.consumer_id)}

    def _fetch(self, request: Request) -> Answer:
        call = read_input(protocol.Fetch, None, request.query)
        partition = self._partitions(call.topic)[call.partition]
        end = len(partition.records)
        if not 0 <= call.offset <= end:
            raise OffsetOutOfRange(f"0 to {end}, not {call.offset}", high_watermark=end)
        wanted: list[tuple[int, bytes]] = []
        size = 0
        for base_offset, batch in partition.batches:
            header_count = len(batch)
            following = [b for b, _ in partition.batches if b > base_offset]
            if (following[0] if following else end) <= call.offset:
                continue
            if wanted and size + header_count > call.max_bytes:
                break
            wanted.append((base_offset, batch))
            size += header_count
        headers = {
            "content-type": BATCH,
            "x-high-watermark": str(end),
            "x-log-start-offset": "0",
        }
        return Answer(200, headers, frame_batches(wanted))


def _body(request: Request) -> Any:
    if not request.body:
        return None
    decode = msgspec.json.decode if request.content_type == JSON else msgspec.msgpack.decode
    return decode(request.body)


def _failure(error: QueueError) -> Answer:
    body = msgspec.msgpack.encode(error.to_body())
    return Answer(error.http_status, {"content-type": MSGPACK}, body)
