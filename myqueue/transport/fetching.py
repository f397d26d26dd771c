"""Reading stored batches: the request, its answer decoded once, and what asks for it. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from myqueue.contract.errors import (
    CorruptBatch,
    InvalidRequest,
    OffsetOutOfRange,
    QueueError,
    from_body,
)
from myqueue.contract.http1 import Answer, Request
from myqueue.contract.inputs import BATCH, MAX_FETCH_BYTES
from myqueue.contract.records import MAX_BATCH_BYTES, decode_rows, read_header, unframe_batches
from myqueue.results import Fetched, Message
from myqueue.transport.blocking import msgpack_request, read_body
from myqueue.transport.effects import Ask, Flow
from myqueue.transport.leader_call import LeaderCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from myqueue.results import Registration
    from myqueue.transport.rotation import TopicPartition
    from myqueue.transport.session import Session

BEYOND = (1 << 62) - 1
"""An offset that no partition reaches."""
DECODED_BYTES_MAX = 4 * MAX_BATCH_BYTES
"""About how much of an answer is decoded; what is behind it is fetched again."""


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

    A batch whose checksum is right and that cannot be decoded is stepped over and counted: it was
    stored like that, so nobody will ever read it.

    Args:
        answer: batches, or a failure.
        topic: for the messages.
        partition: for the messages.
        offset: the first one wanted; a batch may begin before it.

    Raises:
        CorruptBatch: a batch is damaged: its checksum is wrong.
        InvalidRequest: the package of its codec is missing here.
        QueueError: the failure.
    """
    if answer.headers.get("content-type", "").partition(";")[0].strip() != BATCH:
        read_body(answer)
    fetched, _ = _decoded(answer.body, topic=topic, partition=partition, offset=offset)
    return fetched._replace(
        high_watermark=int(answer.headers.get("x-high-watermark", -1)),
        log_start_offset=int(answer.headers.get("x-log-start-offset", -1)),
    )


def several_request(
    places: Mapping[TopicPartition, int],
    tokens: Mapping[str, str],
    *,
    max_bytes: int,
    wait_ms: int,
) -> Request:
    """Return the request that a broker reads several of its partitions for, each from an offset.

    Args:
        places: the partitions, and where to begin.
        tokens: by topic.
        max_bytes: of all together.
        wait_ms: how long the broker holds it until one of them has something.
    """
    fields = {
        "partitions": [
            {"topic": topic, "partition": partition, "offset": offset}
            for (topic, partition), offset in places.items()
        ],
        "max_bytes": max_bytes,
        "wait_ms": wait_ms,
        "stored": True,
        "tokens": tokens,
    }
    return msgpack_request("POST", "/fetch", fields)


def read_several(
    answer: Answer, places: Mapping[TopicPartition, int]
) -> dict[TopicPartition, Fetched | QueueError]:
    """Decode what there is of several partitions, as far as it is not too much at once.

    Those that have nothing are left out, and those that are to be asked for again.

    Args:
        answer: to `several_request`.
        places: what it asked, without what is not wanted any more.

    Raises:
        QueueError: the failure of all of them.
    """
    found: dict[TopicPartition, Fetched | QueueError] = {}
    decoded_bytes = 0
    for part in read_body(answer)["partitions"]:
        topic, partition = where = part["topic"], part["partition"]
        if where not in places:
            continue  # nobody wants it any more
        if decoded_bytes > DECODED_BYTES_MAX:
            break
        if "error" in part:
            found[where] = from_body(answer.status, part["error"])
            continue
        try:
            fetched, size_bytes = _decoded(
                part["batches"], topic=topic, partition=partition, offset=places[where]
            )
            decoded_bytes += size_bytes
            found[where] = fetched._replace(
                high_watermark=part["high_watermark"],
                log_start_offset=part["log_start_offset"],
            )
        except QueueError as error:
            found[where] = error
    return found


def _decoded(batches: bytes, *, topic: str, partition: int, offset: int) -> tuple[Fetched, int]:
    """Return what framed batches hold from an offset on, and what of memory that took.

    They do not say where the replica is.
    """
    messages: list[Message] = []
    next_offset, corrupt, decoded_bytes, size_bytes = offset, 0, 0, 0
    for base_offset, batch in unframe_batches(batches):
        header = read_header(batch)
        decoded_bytes += header.decoded_bytes
        if next_offset > offset and decoded_bytes > DECODED_BYTES_MAX:
            break
        size_bytes = decoded_bytes
        start, end = max(base_offset, offset), base_offset + header.record_count
        next_offset = max(next_offset, end)
        try:
            rows = decode_rows(batch, header)
        except CorruptBatch:
            corrupt += max(0, end - start)
            continue
        first = header.first_timestamp
        messages += [
            Message(topic, partition, position, value, key, headers, first + delta)
            for position, (delta, key, value, headers) in enumerate(
                rows[start - base_offset :], start
            )
        ]
    return Fetched(messages, next_offset, -1, -1, corrupt), size_bytes


def gaps(offsets: Iterable[int], start: int, end: int) -> list[range]:
    """Return the offsets from `start` to below `end` that are not among ascending `offsets`."""
    found: list[range] = []
    for offset in (*offsets, end):
        if offset > start:
            found.append(range(start, offset))
        start = offset + 1
    return found


def timestamp_ms(timestamp: float | datetime) -> int:
    """Return a time as milliseconds since 1970.

    Args:
        timestamp: an integer is in milliseconds, as `Message.timestamp`; another number in seconds,
            as of `time.time()`.

    Raises:
        InvalidRequest: it is no time, or has no time zone.
    """
    if isinstance(timestamp, int):
        return timestamp
    if isinstance(timestamp, float):
        return int(timestamp * 1000)
    if not isinstance(timestamp, datetime):
        raise InvalidRequest(
            f"a time is a datetime, seconds as of time.time(), or milliseconds as an int,"
            f" not {timestamp!r}",
            field="timestamp",
        )
    if timestamp.tzinfo is None:
        raise InvalidRequest("a time needs a time zone", field="timestamp")
    return int(timestamp.timestamp() * 1000)


class Fetcher:
    """Reads from an offset without moving any cursor.

    Args:
        session: of the client.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def fetch(
        self,
        topic: str,
        partition: int,
        offset: int,
        *,
        max_bytes: int,
        wait_ms: int,
        replica: str | None = None,
    ) -> Flow[Fetched]:
        """Read from an offset, at the leader, else another replica, or at the one that is named."""
        session = self._session
        call = fetch_call(
            topic, partition, offset, max_bytes=min(max_bytes, MAX_FETCH_BYTES), wait_ms=wait_ms
        )

        def read(answer: Answer) -> Fetched:
            return read_fetched(answer, topic=topic, partition=partition, offset=offset)

        if replica is not None:
            registration = yield from session.registration(topic)
            timeout_s = (session.config.request_timeout_ms + wait_ms) / 1000
            return read((yield Ask(replica, call.direct(registration), timeout_s)))
        return (yield from session.at_leader(call, session.attempts(), read))

    def high_watermark(self, where: TopicPartition) -> Flow[int]:
        """Return the offset after the last message, confirmed by a quorum."""
        try:
            fetched = yield from self.fetch(*where, BEYOND, max_bytes=1, wait_ms=0)
        except OffsetOutOfRange as error:
            return int(error.details["high_watermark"])
        return fetched.high_watermark

    def first_message(self, where: TopicPartition, offset: int) -> Flow[Message | None]:
        """Return the first message at an offset or behind it; None where there is none yet."""
        fetched = yield from self.fetch(*where, offset, max_bytes=1, wait_ms=0)
        while fetched.corrupt and not fetched.messages:
            fetched = yield from self.fetch(*where, fetched.next_offset, max_bytes=1, wait_ms=0)
        return fetched.messages[0] if fetched.messages else None
