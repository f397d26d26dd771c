"""Reading stored batches: the fetch request, and its answer decoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.http1 import Answer, Request
from myqueue.protocol import BATCH
from myqueue.records import decode_payload, unframe_batches
from myqueue.results import Fetched, Message
from myqueue.session import LeaderCall
from myqueue.transport import read_body

if TYPE_CHECKING:
    from myqueue.results import Registration


def fetch_call(
    topic: str, partition: int, offset: int, *, max_bytes: int, wait_ms: int
) -> LeaderCall:
    """Return the call that reads batches from an offset; any replica may answer it."""

    def direct(registration: Registration) -> Request:
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

    return LeaderCall(topic, partition, direct, None, wait_ms)


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
