"""Reading stored batches: the request, its answer decoded once, and who asks for it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from myqueue.effects import Ask, Flow
from myqueue.errors import InvalidRequest, OffsetOutOfRange, PartitionNotFound
from myqueue.http1 import Answer, Request
from myqueue.protocol import BATCH, MAX_FETCH_BYTES
from myqueue.records import decode_payload, unframe_batches
from myqueue.results import Fetched, Message
from myqueue.session import LeaderCall, Session
from myqueue.transport import read_body

if TYPE_CHECKING:
    from myqueue.pops import TopicPartition
    from myqueue.results import Registration

BEYOND = (1 << 62) - 1
"""An offset that no partition reaches."""


def fetch_call(
    topic: str, partition: int, offset: int, *, max_bytes: int, wait_ms: int
) -> LeaderCall:
    """Return the call that reads batches from an offset; any replica may answer it."""

    def request(registration: Registration) -> Request:
        return Request(
            "GET",
            "/fetch",
            query={
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "max_bytes": max_bytes,
                "wait_ms": wait_ms,
            },
            accept=BATCH,
            token=registration.token,
        )

    return LeaderCall(topic, partition, request, request, wait_ms)


def read_fetched(answer: Answer, *, topic: str, partition: int, offset: int) -> Fetched:
    """Decode a fetch answer.

    Args:
        answer: batches, or a failure.
        topic: for the messages.
        partition: for the messages.
        offset: the first one wanted; a batch may begin before it.

    Raises:
        CorruptBatch: a batch is damaged.
        QueueError: the failure.
    """
    if answer.headers.get("content-type", "").partition(";")[0].strip() != BATCH:
        read_body(answer)
    messages: list[Message] = []
    next_offset = offset
    for base_offset, batch in unframe_batches(answer.body):
        header, rows = decode_payload(batch)
        first = header.first_timestamp
        if base_offset < offset:
            rows = rows[offset - base_offset :]
        start = max(base_offset, offset)
        messages += [
            Message(topic, partition, position, value, key, headers, first + delta)
            for position, (delta, key, value, headers) in enumerate(rows, start)
        ]
        next_offset = max(next_offset, base_offset + header.record_count)
    return Fetched(
        messages,
        next_offset,
        int(answer.headers.get("x-high-watermark", -1)),
        int(answer.headers.get("x-log-start-offset", -1)),
    )


def timestamp_ms(timestamp: int | datetime) -> int:
    """Return a time as milliseconds since 1970.

    Raises:
        InvalidRequest: it has no time zone.
    """
    if not isinstance(timestamp, datetime):
        return timestamp
    if timestamp.tzinfo is None:
        raise InvalidRequest("a time needs a time zone", field="timestamp")
    return int(timestamp.timestamp() * 1000)


class Fetching(Session):
    """Base of the cores of consumers: reads from an offset, and knows which partitions there are.

    Args: those of `Session`.
    """

    def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_bytes: int,
        wait_ms: int,
        replica: str | None,
    ) -> Flow[Fetched]:
        """Read from an offset without moving any cursor."""
        call = fetch_call(
            topic, partition, offset, max_bytes=min(max_bytes, MAX_FETCH_BYTES), wait_ms=wait_ms
        )

        def read(answer: Answer) -> Fetched:
            return read_fetched(answer, topic=topic, partition=partition, offset=offset)

        if replica is not None:
            registration = yield from self.registration(topic)
            timeout_s = (self.config.request_timeout_ms + wait_ms) / 1000
            return read((yield Ask(replica, call.direct(registration), timeout_s)))
        return (yield from self.at_leader(call, self.attempts(), read))

    def _partitions(self, topics: list[str], partition: int | None) -> Flow[list[TopicPartition]]:
        found: list[TopicPartition] = []
        for topic in topics:
            if not self.require_registered(topic).client_id:
                yield from self.registration(topic)
            count = self.known_partition_count(topic)
            if not count:
                count = yield from self.partition_count(topic)
            if partition is None:
                found += [(topic, index) for index in range(count)]
            elif 0 <= partition < count:
                found.append((topic, partition))
            else:
                raise PartitionNotFound(
                    f"topic {topic!r} has partitions 0 to {count - 1}, not {partition}"
                )
        if not found:
            raise InvalidRequest("this consumer is registered for no topic", field="topics")
        return found

    def _high_watermark(self, where: TopicPartition) -> Flow[int]:
        """Return the offset after the last message, confirmed by a quorum."""
        try:
            fetched = yield from self.fetch(*where, BEYOND, max_bytes=1, wait_ms=0, replica=None)
        except OffsetOutOfRange as error:
            return int(error.details["high_watermark"])
        return fetched.high_watermark
