"""Topics, partitions and clients of a queue in memory, shared by its manager and brokers."""

from __future__ import annotations

import itertools
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from myqueue.contract.errors import (
    ClientExpired,
    InvalidRequest,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    QueueError,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import BATCH, JSON, MSGPACK
from myqueue.contract.partitioner import RoundRobin
from myqueue.testing.partition import MemoryPartition


class MemoryState:
    """Topics, partitions and clients. Not thread-safe: its owner holds a lock.

    Args:
        manager: address of the manager.
        brokers: addresses of the brokers, which lead partitions in turn.
    """

    def __init__(self, manager: str, brokers: list[str]) -> None:
        self.manager = manager
        self.brokers = brokers
        self.topics: dict[str, list[MemoryPartition]] = {}
        self.clients: dict[int, tuple[str, str]] = {}
        """Id -> (kind, topic)."""
        self.expired: set[int] = set()
        self.rotations: dict[int, RoundRobin] = {}
        """By consumer, for pops without a partition."""
        self.next_id = 1
        self._group_ids = itertools.count(1)

    def create(self, topic: str, partitions: int = 1) -> list[MemoryPartition]:
        """Create a topic and return its partitions."""
        self.topics[topic] = [self.new_partition(index) for index in range(partitions)]
        return self.topics[topic]

    def new_partition(self, index: int) -> MemoryPartition:
        """Return an empty partition; the brokers lead the partitions in turn."""
        return MemoryPartition(self.brokers[index % len(self.brokers)], next(self._group_ids))

    def now_ms(self) -> int:
        """Return the wall clock, in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def partitions_of(self, topic: str) -> list[MemoryPartition]:
        """Return a topic's partitions.

        Raises:
            TopicDoesNotExist: there is no such topic.
        """
        if topic not in self.topics:
            raise TopicDoesNotExist(f"topic {topic!r} does not exist")
        return self.topics[topic]

    def leader_for_clients(self, topic: str, partition: int) -> str:
        """Return the leader of a partition, as the manager tells it: an address, empty for none."""
        return self.topics[topic][partition].leader

    def is_down(self, address: str) -> bool:
        """Tell whether a broker cannot be reached; in a queue in memory all can."""
        return False

    def partition_at(self, address: str, topic: str, index: int) -> MemoryPartition:
        """Return a partition that the server at an address answers for.

        Raises:
            TopicDoesNotExist | PartitionNotFound: there is none.
            NotLeader | NoLeader: another broker leads it, or none that can be reached.
        """
        partitions = self.partitions_of(topic)
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

    def authorize(self, request: Request, kind: str, client_id: int, topic: str) -> None:
        """Check id and token of a client.

        Raises:
            UnauthorizedException: id, kind, topic and token do not belong together.
            ClientExpired: its heartbeats stopped.
        """
        if self.clients.get(client_id) != (kind, topic) or request.token != f"token-{client_id}":
            raise UnauthorizedException(f"{kind} {client_id} is not registered for {topic!r}")
        if client_id in self.expired:
            raise ClientExpired(f"{kind} {client_id} expired")

    def authorize_reader(self, request: Request, topic: str) -> int:
        """Check the token of any registered consumer of a topic; return its id.

        Raises:
            UnauthorizedException: the token is no consumer's of this topic.
            ClientExpired: its heartbeats stopped.
        """
        kind, _, client_id = (request.token or "").rpartition("-")
        if kind != "token" or not client_id.isdigit():
            raise UnauthorizedException("this call needs the token of a registered consumer")
        self.authorize(request, "consumer", int(client_id), topic)
        return int(client_id)


def parsed(request: Request) -> Request:
    """Return a request with its query as a dictionary of texts."""
    parts = urlsplit(request.path)
    query = {**dict(parse_qsl(parts.query)), **(request.query or {})}
    return request._replace(path=parts.path, query={name: str(v) for name, v in query.items()})


def decoded(request: Request) -> Any:
    """Return the decoded body of a request; None when it is empty or a record batch."""
    if not request.body or request.content_type == BATCH:
        return None
    decode = msgspec.json.decode if request.content_type == JSON else msgspec.msgpack.decode
    return decode(request.body)


def failure(error: QueueError) -> Answer:
    """Return the answer that carries an error."""
    body = msgspec.msgpack.encode(error.to_body())
    return Answer(error.http_status, {"content-type": MSGPACK}, body)


def required(field: str, value: int | None) -> int:
    """Return the value of a field, or raise InvalidRequest when it is None."""
    if value is None:
        raise InvalidRequest(f"{field} is missing", field=field)
    return value
