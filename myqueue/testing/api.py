"""The HTTP API against dictionaries: a manager and its brokers without sockets, disks or replicas.

`InMemoryQueue` answers with it, and the client's own tests break it on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from myqueue.contract import inputs
from myqueue.contract.errors import (
    ClientExpired,
    NoLeader,
    NotFound,
    PartitionNotFound,
    QueueEmpty,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import BATCH, MSGPACK, read_input
from myqueue.contract.partitioner import RoundRobin, partition_for_key
from myqueue.contract.records import encode_batch, frame_batches
from myqueue.testing.groups import MemoryGroups
from myqueue.testing.manager import MemoryManager
from myqueue.testing.state import decoded, failure, parsed, required
from myqueue.testing.work import MemoryWorkers

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.testing.partition import MemoryPartition
    from myqueue.testing.state import MemoryState

HELD = ("/size", "/consumer/consume", "/fetch", "/messages/receive")
"""Calls that may be long polls."""


class MemoryApi:
    """The whole cluster. Not thread-safe: its owner holds a lock.

    Args:
        state: topics, partitions and clients.
    """

    def __init__(self, state: MemoryState) -> None:
        self.state = state
        self.groups = MemoryGroups(state)
        self._workers = MemoryWorkers(state)
        self._manager = MemoryManager(state)
        self._anywhere: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("POST", "/producer/produce"): self._produce,
            ("POST", "/consumer/consume"): self._consume,
            ("GET", "/size"): self._size,
            ("GET", "/fetch"): self._fetch,
            ("POST", "/fetch"): self._fetch_several,
            ("POST", "/cursors/reset"): self._reset,
            ("POST", "/messages/receive"): self._workers.receive,
            ("POST", "/messages/ack"): self._workers.settle,
            ("POST", "/messages/nack"): self._workers.settle,
            ("POST", "/messages/extend"): self._workers.settle,
            ("POST", "/offsets/commit"): self.groups.commit_offset,
            ("GET", "/offsets"): self.groups.tell_offset,
            ("GET", "/offsets/by-time"): self._find_time,
        }
        """Calls that brokers answer, and managers by passing them on."""

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request at once; a transport that holds long polls asks `is_held` first."""
        request = parsed(request)
        self._workers.copy_dead()
        try:
            result = self._dispatch(address, request)
        except QueueError as error:
            return failure(error)
        if isinstance(result, Answer):
            return result
        body = msgspec.msgpack.encode({"status": "success", **result})
        return Answer(200, {"content-type": MSGPACK}, body)

    def is_held(self, address: str, request: Request) -> int:
        """Return how many milliseconds a long poll is held; 0: answer it at once."""
        request = parsed(request)
        if request.path not in HELD:
            return 0
        self._workers.copy_dead()
        fields = {**(request.query or {}), **(decoded(request) or {})}
        wait_ms = int(fields.get("wait_ms") or 0)
        topic, index = str(fields.get("topic")), int(fields.get("partition") or 0)
        try:
            if request.path == "/messages/receive":
                return self._workers.held_ms(address, request)
            if "partitions" in fields and request.path == "/consumer/consume":
                looks = {**fields, "max_messages": 0}
                return 0 if self._pop_parts(address, request, looks) else wait_ms
            if (request.method, request.path) == ("POST", "/fetch"):
                there = bool(self._parts(read_input(inputs.FetchSeveral, decoded(request))))
            elif request.path == "/fetch":
                there = len(self.state.partitions_of(topic)[index].records) > int(
                    fields.get("offset") or 0
                )
            else:
                there = self._has_something(address, fields)
        except (QueueError, IndexError):
            return 0
        return 0 if there else wait_ms

    def _has_something(self, address: str, fields: dict[str, Any]) -> bool:
        """Tell whether a partition of the call has messages, or remembers its request id."""
        topic, consumer_id = str(fields.get("topic")), int(fields.get("consumer_id") or 0)
        count = len(self.state.partitions_of(topic))
        indexes = list(range(count))
        if fields.get("partition") is not None:
            indexes = [int(fields["partition"])]
        elif fields.get("partition_key") is not None:
            indexes = [partition_for_key(fields["partition_key"], count)]
        asked = [self.state.partition_at(address, topic, index) for index in indexes]
        request_id = fields.get("request_id")
        return any(one.size(consumer_id) or one.remembers(consumer_id, request_id) for one in asked)

    def _dispatch(self, address: str, request: Request) -> Any:
        answer = self._anywhere.get((request.method, request.path))
        if answer is not None:
            return answer(address, request)
        if address == self.state.manager:
            of_groups = request.path.split("/")[1] == "groups"
            return self.groups.answer(request) if of_groups else self._manager.answer(request)
        if (request.method, request.path) == ("GET", "/partitions"):
            return self._replicas(address, request)
        raise NotFound(f"{request.path} is not here")

    def _produce(self, address: str, request: Request) -> dict[str, Any]:
        if request.content_type == BATCH:
            head = read_input(inputs.ProduceBatch, None, request.query)  # type: ignore[arg-type]
            self.state.authorize(request, "producer", head.producer_id, head.topic)
            partition = self.state.partition_at(address, head.topic, head.partition)
            base_offset = partition.append(request.body, self.state.now_ms())
            return {"partition": head.partition, "base_offset": base_offset}
        call = read_input(inputs.Produce, decoded(request))
        self.state.authorize(request, "producer", call.producer_id, call.topic)
        index = required("partition", call.partition)
        partition = self.state.partition_at(address, call.topic, index)
        batch = encode_batch(
            inputs.records_of(call, self.state.now_ms()),
            producer_id=call.producer_id,
            producer_epoch=call.producer_epoch or 0,
            base_sequence=-1 if call.base_sequence is None else call.base_sequence,
        )
        return {"partition": index, "offset": partition.append(batch, self.state.now_ms())}

    def _consume(self, address: str, request: Request) -> dict[str, Any]:
        if "partitions" in decoded(request):
            return {"partitions": self._pop_parts(address, request, decoded(request))}
        call = read_input(inputs.Consume, decoded(request))
        return self._pop(address, request, call)

    def _pop_parts(
        self, address: str, request: Request, fields: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Pop from each partition of a list that has something, or name it where none is popped."""
        call, parts = read_input(inputs.ConsumeSeveral, fields), []
        left = call.max_messages
        for one in call.partitions:
            part: dict[str, Any] = {"topic": one.topic, "partition": one.partition}
            token = call.tokens.get(one.topic, call.token or request.token)
            single = inputs.Consume(
                topic=one.topic,
                partition=one.partition,
                consumer_id=one.consumer_id,
                max_messages=max(1, left),
                request_id=one.request_id,
            )
            try:
                self.state.authorize(
                    request._replace(token=token), "consumer", one.consumer_id, one.topic
                )
                partition = self.state.partition_at(address, one.topic, one.partition)
                is_known = partition.remembers(one.consumer_id, one.request_id)
                if not (is_known or partition.size(one.consumer_id)):
                    continue
                if left:
                    part |= self._pop(address, request._replace(token=token), single)
                    left -= len(part["messages"])
                elif call.max_messages:
                    continue
            except QueueError as error:
                part["error"] = error.to_body()
            parts.append(part)
        return parts

    def _pop(self, address: str, request: Request, call: inputs.Consume) -> dict[str, Any]:
        self.state.authorize(request, "consumer", call.consumer_id, call.topic)
        index = call.partition
        if index is None and address == self.state.manager:
            index = self._choose(call)
        index = required("partition", index)
        partition = self.state.partition_at(address, call.topic, index)
        offsets = partition.pop(call.consumer_id, call.max_messages or 1, call.request_id)
        messages = [
            {
                "topic": call.topic,
                "message": record.value,
                "key": record.key,
                "headers": record.headers,
                "timestamp": record.timestamp,
                "partition": index,
                "offset": offset,
            }
            for offset, record in partition.found(offsets)
        ]
        corrupt = len(offsets) - len(messages)
        if call.max_messages is not None:
            return {"topic": call.topic, "messages": messages, "missed": 0, "corrupt": corrupt}
        if not messages:
            raise QueueEmpty(
                f"QEmpty: nothing left for consumer {call.consumer_id}", corrupt=corrupt or None
            )
        return {**messages[0], "missed": 0, "corrupt": corrupt}

    def _choose(self, call: inputs.Consume) -> int:
        """Return the partition that a manager takes for a pop that names none.

        Raises:
            NoLeader: a partition that may remember the request id, or have messages, has no leader.
        """
        partitions = self.state.partitions_of(call.topic)
        count = len(partitions)
        if call.partition_key is not None:
            return partition_for_key(call.partition_key, count)
        for index, partition in enumerate(partitions):
            if partition.remembers(call.consumer_id, call.request_id):
                return index
        if call.request_id is not None:
            for index in range(count):
                self.state.partition_at(
                    self.state.manager, call.topic, index
                )  # it may remember the id
            return self._with_something(call, partition_for_key(call.request_id, count))
        rotation = self.state.rotations.setdefault(call.consumer_id, RoundRobin(call.consumer_id))
        found = self._with_something(call, rotation.next(count))
        self.state.rotations[call.consumer_id] = RoundRobin(found + 1)
        return found

    def _with_something(self, call: inputs.Consume, first: int) -> int:
        """Return the next partition from `first` on that has messages for a consumer, or `first`.

        Raises:
            NoLeader: none is known to have messages, and one has no leader.
        """
        partitions = self.state.partitions_of(call.topic)
        unseen: NoLeader | None = None
        for number in range(first, first + len(partitions)):
            index = number % len(partitions)
            try:
                if self.state.partition_at(self.state.manager, call.topic, index).size(
                    call.consumer_id
                ):
                    return index
            except NoLeader as error:
                unseen = error
        if unseen is not None:
            raise unseen
        return first

    def _size(self, address: str, request: Request) -> dict[str, Any]:
        kind = inputs.Size if address == self.state.manager else inputs.SizeHere
        call = read_input(kind, None, request.query)  # type: ignore[arg-type]
        if address == self.state.manager and call.partition is None:
            if self.state.clients.get(call.consumer_id) != ("consumer", call.topic):
                raise UnauthorizedException(f"{call.topic!r} has no consumer {call.consumer_id}")
            if call.consumer_id in self.state.expired:
                raise ClientExpired(f"consumer {call.consumer_id} expired")
            partitions = self.state.partitions_of(call.topic)
            sizes = {str(n): one.size(call.consumer_id) for n, one in enumerate(partitions)}
            return {"size": sum(sizes.values()), "sizes": sizes}
        self.state.authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self.state.partition_at(
            address, call.topic, required("partition", call.partition)
        )
        remembers: dict[str, bool] = {}
        if isinstance(call, inputs.SizeHere) and call.request_id is not None:
            remembers["remembers"] = partition.remembers(call.consumer_id, call.request_id)
        return {"size": partition.size(call.consumer_id), **remembers}

    # Brokers

    def _fetch(self, address: str, request: Request) -> Answer:
        call = read_input(inputs.Fetch, None, request.query)  # type: ignore[arg-type]
        partition = self._partition(call.topic, call.partition)
        partition.check_offset(call.offset)
        headers = {
            "content-type": BATCH,
            "x-high-watermark": str(len(partition.records)),
            "x-log-start-offset": "0",
        }
        return Answer(200, headers, frame_batches(partition.read(call.offset, call.max_bytes)))

    def _fetch_several(self, address: str, request: Request) -> dict[str, Any]:
        return {"partitions": self._parts(read_input(inputs.FetchSeveral, decoded(request)))}

    def _parts(self, call: inputs.FetchSeveral) -> list[dict[str, Any]]:
        """Return what there is of each partition that has something, or cannot be read."""
        parts: list[dict[str, Any]] = []
        for one in call.partitions:
            named = {"topic": one.topic, "partition": one.partition}
            try:
                partition = self._partition(one.topic, one.partition)
                partition.check_offset(one.offset)
            except QueueError as error:
                parts.append({**named, "error": error.to_body()})
                continue
            batches = frame_batches(partition.read(one.offset, call.max_bytes))
            if batches:
                end = len(partition.records)
                marks = {"next_offset": end, "high_watermark": end, "log_start_offset": 0}
                parts.append({**named, "batches": batches, **marks})
        return parts

    def _partition(self, topic: str, index: int) -> MemoryPartition:
        partitions = self.state.partitions_of(topic)
        if not 0 <= index < len(partitions):
            raise PartitionNotFound(f"topic {topic!r} has no partition {index}")
        return partitions[index]

    def _reset(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(inputs.CursorReset, decoded(request))
        self.state.authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self.state.partition_at(address, call.topic, call.partition)
        offset = call.offset
        if offset is None:
            assert call.timestamp is not None, "one of the two is there"
            offset = partition.offset_by_time(call.timestamp)
        partition.reset(call.consumer_id, offset, call.expected)
        return {"partition": call.partition, "offset": offset}

    def _find_time(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(inputs.OffsetByTime, None, request.query)  # type: ignore[arg-type]
        self.state.authorize_reader(request, call.topic)
        partition = self.state.partition_at(address, call.topic, call.partition)
        offset = partition.offset_by_time(call.timestamp)
        return {"topic": call.topic, "partition": call.partition, "offset": offset}

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
                for name, partitions in self.state.topics.items()
                if topic in (None, name)
                for index, partition in enumerate(partitions)
            ]
        }
