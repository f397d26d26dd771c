"""The HTTP API against dictionaries: a manager and its brokers without sockets, disks or replicas.

What `InMemoryQueue` answers with, and what the client's own tests break on purpose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from myqueue import protocol
from myqueue.errors import (
    BrokerAlreadyPresent,
    ClientExpired,
    ClientNotFound,
    InvalidRequest,
    MethodNotAllowed,
    NoLeader,
    NotFound,
    NotLeader,
    PartitionNotFound,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.http1 import Answer, Request
from myqueue.memory_partition import MemoryPartition
from myqueue.protocol import BATCH, JSON, MSGPACK, read_input
from myqueue.records import encode_batch, frame_batches

PARTITIONS_BY_DEFAULT = 3


class MemoryApi:
    """The whole cluster's state. Not thread-safe: its owner holds a lock.

    Args:
        manager: address of the manager.
        brokers: addresses of the brokers, which lead partitions in turn.
    """

    partition_type: ClassVar[type[MemoryPartition]] = MemoryPartition

    def __init__(self, manager: str, brokers: list[str]) -> None:
        self.manager = manager
        self.brokers = brokers
        self.topics: dict[str, list[Any]] = {}
        self.clients: dict[int, tuple[str, str]] = {}
        """Id -> (kind, topic)."""
        self.expired: set[int] = set()
        self._next_id = 1
        self._everywhere: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("POST", "/producer/produce"): self._produce,
            ("POST", "/consumer/consume"): self._consume,
            ("GET", "/size"): self._size,
        }
        self._at_brokers: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("GET", "/fetch"): self._fetch,
            ("POST", "/cursors/reset"): self._reset,
            ("GET", "/partitions"): self._replicas,
        }
        self._at_managers: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("POST", "/topics"): self._create_topic,
            ("GET", "/topics"): lambda _: {"topics": list(self.topics)},
            ("GET", "/brokers"): self._list_brokers,
            ("POST", "/brokers"): self._add_broker,
            ("POST", "/producer/register"): self._register,
            ("POST", "/consumer/register"): self._register,
            ("GET", "/health"): self._health,
            ("GET", "/producers"): lambda request: self._list_clients("producer", request),
            ("GET", "/consumers"): lambda request: self._list_clients("consumer", request),
        }

    def create(self, topic: str, partitions: int = 1) -> list[Any]:
        """Make a topic and return its partitions."""
        self.topics[topic] = [
            self.partition_type(self.brokers[index % len(self.brokers)])
            for index in range(partitions)
        ]
        return self.topics[topic]

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    # Answering

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request at once; whoever holds one that waits asks `is_held` first."""
        request = parsed(request)
        try:
            result = self._dispatch(address, request)
        except QueueError as error:
            return failure(error)
        if isinstance(result, Answer):
            return result
        body = msgspec.msgpack.encode({"status": "success", **result})
        return Answer(200, {"content-type": MSGPACK}, body)

    def is_held(self, address: str, request: Request) -> int:
        """Return how many milliseconds a request waits for a message that is not there yet."""
        request = parsed(request)
        if request.path not in ("/size", "/consumer/consume", "/fetch"):
            return 0
        fields = {**(request.query or {}), **(decoded(request) or {})}
        wait_ms = int(fields.get("wait_ms") or 0)
        topic, index = str(fields.get("topic")), int(fields.get("partition") or 0)
        try:
            if request.path == "/fetch":
                there = len(self._partitions(topic)[index].records) > int(fields.get("offset") or 0)
            else:
                consumer_id = int(fields.get("consumer_id") or 0)
                there = self._partition(address, topic, index).size(consumer_id) > 0
        except (QueueError, IndexError):
            return 0
        return 0 if there else wait_ms

    def _dispatch(self, address: str, request: Request) -> Any:
        asked = (request.method, request.path)
        if asked in self._everywhere:
            return self._everywhere[asked](address, request)
        if address != self.manager:
            if asked in self._at_brokers:
                return self._at_brokers[asked](address, request)
            raise NotFound(f"{request.path} is not here")
        if asked in self._at_managers:
            return self._at_managers[asked](request)
        kind = request.path.split("/")[1]
        if kind == "topics":
            return self._topic(request)
        if request.method == "DELETE" and kind in ("producers", "consumers"):
            return self._forget(request)
        raise NotFound(f"{request.path} is not here")

    # Manager

    def _create_topic(self, request: Request) -> dict[str, Any]:
        call = read_input(protocol.TopicCreate, decoded(request))
        protocol.check_topic_name(call.topic)
        if call.topic in self.topics:
            raise TopicAlreadyExists(f"topic {call.topic!r} exists")
        protocol.check_range(
            "number_of_partitions", call.number_of_partitions, 1, protocol.MAX_PARTITIONS
        )
        self.create(call.topic, call.number_of_partitions)
        message = f"Topic '{call.topic}' created successfully"
        return {"message": message, "topic": call.topic, "partitions": call.number_of_partitions}

    def _topic(self, request: Request) -> dict[str, Any]:
        topic = unquote(request.path.removeprefix("/topics/"))
        partitions = self._partitions(topic)
        if request.method == "DELETE":
            del self.topics[topic]
            return {}
        if request.method == "PATCH":
            call = read_input(protocol.TopicUpdate, decoded(request))
            if isinstance(call.number_of_partitions, int):
                self._grow(partitions, call.number_of_partitions)
        elif request.method != "GET":
            raise MethodNotAllowed(f"{request.path} does not take {request.method}")
        replicas = [{"broker_id": n, "address": a} for n, a in enumerate(self.brokers, 1)]
        rows = []
        for index, partition in enumerate(partitions):
            leader = self.leader_for_clients(topic, index)
            known = [one for one in replicas if one["address"] == leader]
            rows.append(
                {
                    "partition": index,
                    "leader": known[0] if known else None,
                    "term": 1,
                    "replicas": replicas,
                    "log_start_offset": 0,
                    "high_watermark": len(partition.records),
                }
            )
        return {"topic": topic, "partitions": rows}

    def _grow(self, partitions: list[Any], count: int) -> None:
        if count < len(partitions):
            raise InvalidRequest(
                "number_of_partitions only goes upward", field="number_of_partitions"
            )
        partitions += [
            self.partition_type(self.brokers[index % len(self.brokers)])
            for index in range(len(partitions), count)
        ]

    def leader_for_clients(self, topic: str, partition: int) -> str:
        """Return what the manager says about a partition's leader."""
        return str(self.topics[topic][partition].leader)

    def _list_brokers(self, request: Request) -> dict[str, Any]:
        if (request.query or {}).get("detail"):
            return {"brokers": [{"address": a, "state": "alive"} for a in self.brokers]}
        return {"brokers": self.brokers}

    def _add_broker(self, request: Request) -> dict[str, Any]:
        call = read_input(protocol.BrokerCreate, decoded(request))
        if call.broker_address in self.brokers:
            raise BrokerAlreadyPresent(f"{call.broker_address} is known")
        self.brokers.append(call.broker_address)
        return {}

    def _register(self, request: Request) -> dict[str, Any]:
        kind = request.path.split("/")[1]
        cls = protocol.ProducerRegister if kind == "producer" else protocol.ConsumerRegister
        call: Any = read_input(cls, decoded(request))
        if call.topic not in self.topics:
            if kind == "consumer":
                raise TopicDoesNotExist(f"topic {call.topic!r} does not exist")
            self.create(call.topic, PARTITIONS_BY_DEFAULT)
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
        call = read_input(protocol.Health, None, request.query)  # type: ignore[arg-type]
        kinds = {protocol.HEALTH_CONSUMER: "consumer", protocol.HEALTH_PRODUCER: "producer"}
        if self.clients.get(int(call.key), ("",))[0] != kinds.get(call.type):
            raise ClientNotFound(f"no such client: {call.key}")
        if call.key in self.expired:
            raise ClientExpired(f"client {call.key} expired")
        return {}

    def _list_clients(self, kind: str, request: Request) -> dict[str, Any]:
        topic = (request.query or {}).get("topic")
        rows = [
            {f"{kind}_id": client_id, "topic": of, "state": "alive"}
            for client_id, (known, of) in self.clients.items()
            if known == kind and topic in (None, of)
        ]
        return {f"{kind}s": rows}

    def _forget(self, request: Request) -> dict[str, Any]:
        _, kind, given = request.path.split("/")
        _, topic = self.clients.pop(int(given), ("", ""))
        if not topic:
            raise ClientNotFound(f"no such {kind}: {given}")
        for partition in self.topics.get(topic, ()):
            partition.forget(int(given))
        return {}

    # Both

    def _partitions(self, topic: str) -> list[Any]:
        if topic not in self.topics:
            raise TopicDoesNotExist(f"topic {topic!r} does not exist")
        return self.topics[topic]

    def is_down(self, address: str) -> bool:
        """Return True when a broker cannot be reached."""
        return False

    def _partition(self, address: str, topic: str, index: int) -> Any:
        partitions = self._partitions(topic)
        if not 0 <= index < len(partitions):
            raise PartitionNotFound(f"topic {topic!r} has no partition {index}")
        partition = partitions[index]
        if address == self.manager:
            if not partition.leader or self.is_down(partition.leader):
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
            head = read_input(protocol.ProduceBatch, None, request.query)  # type: ignore[arg-type]
            self._authorize(request, "producer", head.producer_id, head.topic)
            partition = self._partition(address, head.topic, head.partition)
            base_offset = partition.append(request.body, self.now_ms())
            return {"partition": head.partition, "base_offset": base_offset}
        call = read_input(protocol.Produce, decoded(request))
        self._authorize(request, "producer", call.producer_id, call.topic)
        index = _required("partition", call.partition)
        partition = self._partition(address, call.topic, index)
        batch = encode_batch(
            protocol.records_of(call, self.now_ms()),
            producer_id=call.producer_id,
            producer_epoch=call.producer_epoch or 0,
            base_sequence=-1 if call.base_sequence is None else call.base_sequence,
        )
        return {"partition": index, "offset": partition.append(batch, self.now_ms())}

    def _consume(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(protocol.Consume, decoded(request))
        self._authorize(request, "consumer", call.consumer_id, call.topic)
        index = _required("partition", call.partition)
        partition = self._partition(address, call.topic, index)
        offsets = partition.pop(call.consumer_id, call.max_messages or 1, call.request_id)
        records = partition.records
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
        call = read_input(protocol.Size, None, request.query)  # type: ignore[arg-type]
        self._authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self._partition(address, call.topic, _required("partition", call.partition))
        return {"size": partition.size(call.consumer_id)}

    # Brokers

    def _fetch(self, address: str, request: Request) -> Answer:
        call = read_input(protocol.Fetch, None, request.query)  # type: ignore[arg-type]
        partitions = self._partitions(call.topic)
        if not 0 <= call.partition < len(partitions):
            raise PartitionNotFound(f"topic {call.topic!r} has no partition {call.partition}")
        partition = partitions[call.partition]
        partition.check_offset(call.offset)
        headers = {
            "content-type": BATCH,
            "x-high-watermark": str(len(partition.records)),
            "x-log-start-offset": "0",
        }
        return Answer(200, headers, frame_batches(partition.read(call.offset, call.max_bytes)))

    def _reset(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(protocol.CursorReset, decoded(request))
        self._authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self._partition(address, call.topic, call.partition)
        if (call.offset is None) == (call.timestamp is None):
            raise InvalidRequest("give exactly one of offset and timestamp", field="offset")
        offset = call.offset
        if offset is None:
            assert call.timestamp is not None, "one of the two is there"
            offset = partition.offset_by_time(call.timestamp)
        partition.reset(call.consumer_id, offset, call.expected)
        return {"partition": call.partition, "offset": offset}

    def _replicas(self, address: str, request: Request) -> dict[str, Any]:
        topic = (request.query or {}).get("topic")
        return {
            "partitions": [
                {
                    "topic": name,
                    "partition": index,
                    "serves": partition.leader == address,
                    "high_watermark": len(partition.records),
                }
                for name, partitions in self.topics.items()
                if topic in (None, name)
                for index, partition in enumerate(partitions)
            ]
        }


def parsed(request: Request) -> Request:
    """Return a request with its query as a dictionary of texts."""
    parts = urlsplit(request.path)
    query = {**dict(parse_qsl(parts.query)), **(request.query or {})}
    return request._replace(path=parts.path, query={name: str(v) for name, v in query.items()})


def decoded(request: Request) -> Any:
    """Return the body of a request in JSON or MessagePack, None when there is none."""
    if not request.body or request.content_type == BATCH:
        return None
    decode = msgspec.json.decode if request.content_type == JSON else msgspec.msgpack.decode
    return decode(request.body)


def failure(error: QueueError) -> Answer:
    """Return the answer that carries an error."""
    body = msgspec.msgpack.encode(error.to_body())
    return Answer(error.http_status, {"content-type": MSGPACK}, body)


def _required(field: str, value: int | None) -> int:
    if value is None:
        raise InvalidRequest(f"{field} is missing", field=field)
    return value
