"""The produce call: a batch encoded once, for a broker as it is, for a manager as a list.

A list that is too long for a manager goes there as a batch, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from myqueue.contract.http1 import Request
from myqueue.contract.inputs import BATCH, MAX_JSON_BODY_BYTES, MSGPACK
from myqueue.contract.records import (
    CODEC_NONE,
    MAX_MESSAGE_BYTES,
    PlainRecords,
    Record,
    Records,
    encode_batch,
    make_record,
)
from myqueue.producer.sequences import Stamp
from myqueue.transport.blocking import msgpack_request
from myqueue.transport.leader_call import LeaderCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from myqueue.results import Registration


PRODUCE_PATH = "/producer/produce"
SHORT_CHARACTERS = MAX_MESSAGE_BYTES // 4
COMPRESSED_BYTES_MIN = 512
"""Below this, compression costs more than it saves."""


class Target(Struct, frozen=True):
    """Where a batch goes and under which stamp."""

    topic: str
    partition: int
    stamp: Stamp


def records_of_items(
    items: Sequence[str | bytes | Record], *, now_ms: int, key: str | bytes | None = None
) -> Records:
    """Return messages, checked against the limits.

    Args:
        items: texts, bytes, or records with key and headers; kept, and not to be changed.
        now_ms: timestamp of those that have none, milliseconds since 1970.
        key: of those that have none.

    Raises:
        InvalidRequest: one of them is of another type.
        MessageTooLarge: one of them is over a limit.
    """
    if key is None and (plain := _plain_records(items, now_ms)) is not None:
        return plain
    return [
        make_record(
            item.value,
            key if item.key is None else item.key,
            item.headers,
            timestamp=item.timestamp or now_ms,
        )
        if isinstance(item, Record)
        else make_record(item, key, None, timestamp=now_ms)
        for item in items
    ]


def _plain_records(items: Sequence[str | bytes | Record], now_ms: int) -> PlainRecords | None:
    """Return messages when all are texts, or all bytes, so short that none passes a limit.

    Nothing is left to check one by one then, which is many times faster.
    """
    if set(map(type, items)) not in ({str}, {bytes}):
        return None
    values = cast("Sequence[str] | Sequence[bytes]", items)
    if max(map(len, values)) > SHORT_CHARACTERS:
        return None
    try:
        return PlainRecords(values, now_ms)
    except UnicodeEncodeError:  # The message that has it is named where each is checked.
        return None


def produce_call(
    target: Target,
    records: Records,
    *,
    timeout_ms: int,
    codec: int = CODEC_NONE,
    marks: str = "",
) -> LeaderCall:
    """Return the call that appends a batch; it is encoded once, every try sends the same bytes.

    Args:
        target: where to and under which stamp.
        records: the messages.
        timeout_ms: how long a server may wait for a quorum.
        codec: `CODEC_NONE` or `CODEC_ZSTD`; short batches are not compressed.
        marks: further header lines of the requests.

    Raises:
        MessageTooLarge: too many messages or bytes.
    """
    stamp = target.stamp
    batch = _encode(stamp, records, codec)

    common: dict[str, str | int] = {
        "topic": target.topic,
        "partition": target.partition,
        "producer_id": stamp.producer_id,
        "timeout_ms": timeout_ms,
    }

    def direct(registration: Registration) -> Request:
        return Request(
            "POST",
            PRODUCE_PATH,
            query=common,
            body=batch,
            content_type=BATCH,
            accept=MSGPACK,
            token=registration.token,
            marks=marks,
        )

    def through_manager(registration: Registration) -> Request:
        fields: dict[str, Any] = {
            **common,
            "token": registration.token or None,
            "messages": [_item(record) for record in records],
            "timestamp": records[0].timestamp,
            "producer_epoch": stamp.epoch,
            "base_sequence": stamp.base_sequence,
        }
        request = msgpack_request("POST", PRODUCE_PATH, fields, token=registration.token)
        if len(request.body) > MAX_JSON_BODY_BYTES:
            return direct(registration)
        return request._replace(marks=marks) if marks else request

    return LeaderCall(target.topic, target.partition, direct, through_manager)


def _encode(stamp: Stamp, records: Records, codec: int) -> bytes:
    if codec != CODEC_NONE and sum(map(len, _values_of(records))) < COMPRESSED_BYTES_MIN:
        codec = CODEC_NONE
    return encode_batch(
        records,
        producer_id=stamp.producer_id,
        producer_epoch=stamp.epoch,
        base_sequence=stamp.base_sequence,
        codec=codec,
    )


def _values_of(records: Records) -> Sequence[str | bytes]:
    if isinstance(records, PlainRecords):
        return records.values
    return [record.value for record in records]


def _item(record: Record) -> Any:
    """Return a message as an item of `messages`."""
    if record.key is None and record.headers is None:
        return record.value
    fields = {"message": record.value, "key": record.key, "headers": record.headers}
    return {name: value for name, value in fields.items() if value is not None}
