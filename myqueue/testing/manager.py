"""The manager of a queue in memory: topics, brokers, registration of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from myqueue.contract import inputs
from myqueue.contract.errors import (
    BrokerAlreadyPresent,
    ClientExpired,
    ClientNotFound,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.inputs import read_input
from myqueue.testing.state import decoded

if TYPE_CHECKING:
    from myqueue.contract.http1 import Request
    from myqueue.testing.partition import MemoryPartition
    from myqueue.testing.state import MemoryState

PARTITIONS_BY_DEFAULT = 3


class MemoryManager:
    """Topics, brokers and clients as a manager serves them.

    Args:
        state: that the manager and the brokers share.
    """

    def __init__(self, state: MemoryState) -> None:
        self._state = state

    def answer(self, request: Request) -> Any:
        """Answer a call that only a manager takes.

        Raises:
            NotFound: a manager has no such path.
            QueueError: the answer is a failure.
        """
        fixed: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("POST", "/topics"): self._create_topic,
            ("GET", "/topics"): lambda _: {"topics": list(self._state.topics)},
            ("GET", "/brokers"): self._list_brokers,
            ("POST", "/brokers"): self._add_broker,
            ("POST", "/producer/register"): self._register,
            ("POST", "/consumer/register"): self._register,
            ("GET", "/health"): self._health,
            ("GET", "/producers"): lambda asked: self._list_clients("producer", asked),
            ("GET", "/consumers"): lambda asked: self._list_clients("consumer", asked),
        }
        handler = fixed.get((request.method, request.path))
        if handler is not None:
            return handler(request)
        kind = request.path.split("/")[1]
        if kind == "topics":
            return self._topic(request)
        if request.method == "DELETE" and kind in ("producers", "consumers"):
            return self._forget(request)
        raise NotFound(f"{request.path} is not here")

    def _create_topic(self, request: Request) -> dict[str, Any]:
        call = read_input(inputs.TopicCreate, decoded(request))
        inputs.check_topic_name(call.topic)
        if call.topic in self._state.topics:
            raise TopicAlreadyExists(f"topic {call.topic!r} exists")
        self._state.create(call.topic, call.number_of_partitions)
        told = self._describe(call.topic)
        message = f"Topic '{call.topic}' created successfully"
        return {**told, "message": message, "leaders_pending": []}

    def _topic(self, request: Request) -> dict[str, Any]:
        topic = unquote(request.path.removeprefix("/topics/"))
        partitions = self._state.partitions_of(topic)
        if request.method == "DELETE":
            del self._state.topics[topic]
            return {}
        if request.method == "PATCH":
            call = read_input(inputs.TopicUpdate, decoded(request))
            if isinstance(call.number_of_partitions, int):
                self._grow(partitions, call.number_of_partitions)
        elif request.method != "GET":
            raise MethodNotAllowed(f"{request.path} does not take {request.method}")
        return self._describe(topic)

    def _describe(self, topic: str) -> dict[str, Any]:
        partitions = self._state.partitions_of(topic)
        replicas = [{"broker_id": n, "address": a} for n, a in enumerate(self._state.brokers, 1)]
        rows = []
        for index, partition in enumerate(partitions):
            leader = self._state.leader_for_clients(topic, index)
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
        return {"topic": topic, "number_of_partitions": len(rows), "partitions": rows}

    def _grow(self, partitions: list[MemoryPartition], count: int) -> None:
        if count < len(partitions):
            raise InvalidRequest(
                "number_of_partitions only goes upward", field="number_of_partitions"
            )
        partitions += [self._state.new_partition(index) for index in range(len(partitions), count)]

    def _list_brokers(self, request: Request) -> dict[str, Any]:
        if (request.query or {}).get("detail"):
            rows = [
                {"broker_id": number, "address": address, "state": "alive"}
                for number, address in enumerate(self._state.brokers, 1)
            ]
            return {"brokers": rows}
        return {"brokers": self._state.brokers}

    def _add_broker(self, request: Request) -> dict[str, Any]:
        call = read_input(inputs.BrokerCreate, decoded(request))
        if call.broker_address in self._state.brokers:
            raise BrokerAlreadyPresent(f"{call.broker_address} is known")
        self._state.brokers.append(call.broker_address)
        number = len(self._state.brokers)
        message = f"broker {number} at {call.broker_address} is known"
        return {"message": message, "broker_id": number, "address": call.broker_address}

    def _register(self, request: Request) -> dict[str, Any]:
        kind = request.path.split("/")[1]
        cls = inputs.ProducerRegister if kind == "producer" else inputs.ConsumerRegister
        call: Any = read_input(cls, decoded(request))
        if call.topic not in self._state.topics:
            if kind == "consumer":
                raise TopicDoesNotExist(f"topic {call.topic!r} does not exist")
            self._state.create(call.topic, PARTITIONS_BY_DEFAULT)
        given = getattr(call, f"{kind}_id")
        if given is not None:
            if (
                self._state.clients.get(given) != (kind, call.topic)
                or call.token != f"token-{given}"
            ):
                raise UnauthorizedException(f"{kind} {given} is not known")
            self._state.expired.discard(given)
        else:
            given, self._state.next_id = self._state.next_id, self._state.next_id + 1
            self._state.clients[given] = (kind, call.topic)
            if kind == "consumer" and call.start == "latest":
                for partition in self._state.topics[call.topic]:
                    partition.cursors[given] = len(partition.records)
        message = f"{kind} {given} is registered for topic {call.topic!r}"
        return {"message": message, f"{kind}_id": given, "token": f"token-{given}"}

    def _health(self, request: Request) -> dict[str, Any]:
        call = read_input(inputs.Health, None, request.query)  # type: ignore[arg-type]
        kinds = {inputs.HEALTH_CONSUMER: "consumer", inputs.HEALTH_PRODUCER: "producer"}
        if self._state.clients.get(int(call.key), ("",))[0] != kinds.get(call.type):
            raise ClientNotFound(f"no such client: {call.key}")
        if call.key in self._state.expired:
            raise ClientExpired(f"client {call.key} expired")
        return {"token": request.token}

    def _list_clients(self, kind: str, request: Request) -> dict[str, Any]:
        topic = (request.query or {}).get("topic")
        rows = [
            {f"{kind}_id": client_id, "topic": of, "state": self._state_of(client_id)}
            for client_id, (known, of) in self._state.clients.items()
            if known == kind and topic in (None, of)
        ]
        return {f"{kind}s": rows}

    def _state_of(self, client_id: int) -> str:
        return "expired" if client_id in self._state.expired else "alive"

    def _forget(self, request: Request) -> dict[str, Any]:
        _, kind, given = request.path.split("/")
        _, topic = self._state.clients.pop(int(given), ("", ""))
        if not topic:
            raise ClientNotFound(f"no such {kind}: {given}")
        for partition in self._state.topics.get(topic, ()):
            partition.forget(int(given))
        return {}
