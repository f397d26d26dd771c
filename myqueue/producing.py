"""The produce call: a batch encoded once, for a broker as it is, for a manager as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from myqueue.http1 import Request
from myqueue.protocol import BATCH, MSGPACK
from myqueue.records import Record, encode_batch
from myqueue.sequences import Stamp
from myqueue.session import LeaderCall
from myqueue.transport import encode_body

if TYPE_CHECKING:
    from myqueue.results import Registration


class Target(NamedTuple):
    """Where a batch goes and under which stamp."""

    topic: str
    partition: int
    stamp: Stamp


def produce_call(target: Target, records: list[Record], *, timeout_ms: int) -> LeaderCall:
    """Return the call that appends a batch; it is encoded once, every try sends the same bytes."""
    stamp = target.stamp
    batch = encode_batch(
        records,
        producer_id=stamp.producer_id,
        producer_epoch=stamp.epoch,
        base_sequence=stamp.base_sequence,
    )

    def direct(registration: Registration) -> Request:
        return Request(
            "POST",
            "/producer/produce",
            query={
                "topic": target.topic,
                "partition": target.partition,
                "producer_id": stamp.producer_id,
                "timeout_ms": timeout_ms,
            },
            body=batch,
            content_type=BATCH,
            accept=MSGPACK,
            token=registration.token,
        )

    def through_manager(registration: Registration) -> Request:
        fields: dict[str, Any] = {
            "topic": target.topic,
            "partition": target.partition,
            "producer_id": stamp.producer_id,
            "token": registration.token or None,
            "messages": [_item(record) for record in records],
            "timestamp": records[0].timestamp,
            "producer_epoch": stamp.epoch,
            "base_sequence": stamp.base_sequence,
            "timeout_ms": timeout_ms,
        }
        return Request(
            "POST",
            "/producer/produce",
            body=encode_body(fields),
            content_type=MSGPACK,
            accept=MSGPACK,
            token=registration.token,
        )

    return LeaderCall(target.topic, target.partition, direct, through_manager)


def _item(record: Record) -> Any:
    """Return a message as an item of `messages`."""
    if record.key is None and record.headers is None:
        return record.value
    fields = {"message": record.value, "key": record.key, "headers": record.headers}
    return {name: value for name, value in fields.items() if value is not None}
