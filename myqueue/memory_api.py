"""The HTTP API against dictionaries: a manager and its brokers without sockets, disks or replicas.

What `InMemoryQueue` answers with, and what the client's own tests break on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from myqueue import protocol
from myqueue.errors import (
    InvalidRequest,
    NotFound,
    PartitionNotFound,
    QueueError,
    UnauthorizedException,
)
from myqueue.http1 import Answer, Request
from myqueue.memory_state import decoded, failure, parsed, required
from myqueue.memory_work import MemoryWorkApi
from myqueue.protocol import BATCH, MSGPACK, read_input
from myqueue.records import encode_batch, frame_batches

if TYPE_CHECKING:
    from collections.abc import Callable

HELD = ("/size", "/consumer/consume", "/fetch", "/messages/receive")
"""The calls that may wait for messages."""


class MemoryApi(MemoryWorkApi):
    """The whole cluster. Not thread-safe: its owner holds a lock.

    Args:
        manager: address of the manager.
        brokers: addresses of the brokers, which lead partitions in turn.
    """

    def handle(self, address: str, request: Request) -> Answer:
        """Answer a request at once; whoever holds one that waits asks `is_held` first."""
        request = parsed(request)
        self.bury()
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
        if request.path not in HELD:
            return 0
        self.bury()
        fields = {**(request.query or {}), **(decoded(request) or {})}
        wait_ms = int(fields.get("wait_ms") or 0)
        topic, index = str(fields.get("topic")), int(fields.get("partition") or 0)
        try:
            if request.path == "/messages/receive":
                return self.work_held_ms(address, request)
            if request.path == "/fetch":
                there = len(self.partitions_of(topic)[index].records) > int(
                    fields.get("offset") or 0
                )
            else:
                consumer_id = int(fields.get("consumer_id") or 0)
                there = self.partition_at(address, topic, index).size(consumer_id) > 0
        except (QueueError, IndexError):
            return 0
        return 0 if there else wait_ms

    def _dispatch(self, address: str, request: Request) -> Any:
        everywhere: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("POST", "/producer/produce"): self._produce,
            ("POST", "/consumer/consume"): self._consume,
            ("GET", "/size"): self._size,
            ("GET", "/fetch"): self._fetch,
            ("POST", "/cursors/reset"): self._reset,
            ("POST", "/messages/receive"): self.receive,
            ("POST", "/messages/ack"): self.settle,
            ("POST", "/messages/nack"): self.settle,
            ("POST", "/messages/extend"): self.settle,
            ("POST", "/offsets/commit"): self.commit_offset,
            ("GET", "/offsets"): self.tell_offset,
            ("GET", "/offsets/by-time"): self.find_time,
        }
        at_brokers: dict[tuple[str, str], Callable[[str, Request], Any]] = {
            ("GET", "/partitions"): self._replicas,
        }
        asked = (request.method, request.path)
        if asked in everywhere:
            return everywhere[asked](address, request)
        if address == self.manager:
            return self.at_manager(request)
        if asked in at_brokers:
            return at_brokers[asked](address, request)
        raise NotFound(f"{request.path} is not here")

    def _produce(self, address: str, request: Request) -> dict[str, Any]:
        if request.content_type == BATCH:
            head = read_input(protocol.ProduceBatch, None, request.query)  # type: ignore[arg-type]
            self.authorize(request, "producer", head.producer_id, head.topic)
            partition = self.partition_at(address, head.topic, head.partition)
            base_offset = partition.append(request.body, self.now_ms())
            return {"partition": head.partition, "base_offset": base_offset}
        call = read_input(protocol.Produce, decoded(request))
        self.authorize(request, "producer", call.producer_id, call.topic)
        index = required("partition", call.partition)
        partition = self.partition_at(address, call.topic, index)
        batch = encode_batch(
            protocol.records_of(call, self.now_ms()),
            producer_id=call.producer_id,
            producer_epoch=call.producer_epoch or 0,
            base_sequence=-1 if call.base_sequence is None else call.base_sequence,
        )
        return {"partition": index, "offset": partition.append(batch, self.now_ms())}

    def _consume(self, address: str, request: Request) -> dict[str, Any]:
        call = read_input(protocol.Consume, decoded(request))
        self.authorize(request, "consumer", call.consumer_id, call.topic)
        index = required("partition", call.partition)
        partition = self.partition_at(address, call.topic, index)
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
        if address == self.manager and call.partition is None:
            if self.clients.get(call.consumer_id) != ("consumer", call.topic):
                raise UnauthorizedException(f"{call.topic!r} has no consumer {call.consumer_id}")
            partitions = self.partitions_of(call.topic)
            sizes = {str(n): one.size(call.consumer_id) for n, one in enumerate(partitions)}
            return {"size": sum(sizes.values()), "sizes": sizes}
        self.authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self.partition_at(address, call.topic, required("partition", call.partition))
        return {"size": partition.size(call.consumer_id)}

    # Brokers

    def _fetch(self, address: str, request: Request) -> Answer:
        call = read_input(protocol.Fetch, None, request.query)  # type: ignore[arg-type]
        partitions = self.partitions_of(call.topic)
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
        self.authorize(request, "consumer", call.consumer_id, call.topic)
        partition = self.partition_at(address, call.topic, call.partition)
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
