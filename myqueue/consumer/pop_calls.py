"""The calls of a consumer at a partition: pop, size, and moving the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK
from myqueue.results import Message
from myqueue.transport.leader_call import LeaderCall, listing, posting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myqueue.consumer.pop_requests import Pop
    from myqueue.results import Registration
    from myqueue.transport.rotation import TopicPartition


def pop_call(where: TopicPartition, pop: Pop, *, wait_ms: int, timeout_ms: int) -> LeaderCall:
    """Return the call that pops messages; every try carries the same request id."""
    fields = {
        "max_messages": pop.max_messages,
        "wait_ms": wait_ms,
        "request_id": pop.request_id,
        "timeout_ms": timeout_ms,
    }
    request = posting("/consumer/consume", where, fields, names_consumer=True)
    return LeaderCall(*where, request, request, wait_ms)


def look_request(
    places: list[TopicPartition], registrations: Mapping[str, Registration], *, wait_ms: int
) -> Request:
    """Return the request that says which partitions have messages; held while none has."""
    fields = {"max_messages": 0, "wait_ms": wait_ms}
    return listing("/consumer/consume", places, registrations, fields, names_consumer=True)


def size_call(where: TopicPartition) -> LeaderCall:
    """Return the call for what is left."""

    def request(registration: Registration) -> Request:
        query: dict[str, str | int] = {
            "topic": where[0],
            "partition": where[1],
            "consumer_id": registration.client_id,
        }
        return Request("GET", "/size", query=query, accept=MSGPACK, token=registration.token)

    return LeaderCall(*where, request, request)


def reset_call(
    where: TopicPartition,
    *,
    offset: int | None = None,
    timestamp: int | None = None,
    expected: int | None = None,
    timeout_ms: int,
) -> LeaderCall:
    """Return the call that moves a cursor.

    Args:
        where: topic and partition.
        offset: where to; or
        timestamp: to the first message appended at or after it, milliseconds since 1970.
        expected: where the cursor must stand; anywhere when left out.
        timeout_ms: how long a broker may wait for a quorum.
    """
    fields = {
        "offset": offset,
        "timestamp": timestamp,
        "expected": expected,
        "timeout_ms": timeout_ms,
    }
    request = posting("/cursors/reset", where, fields, names_consumer=True)
    return LeaderCall(*where, request, request)


def popped_message(item: dict[str, Any], where: TopicPartition) -> Message:
    """Return a message of a consume answer."""
    return Message(
        where[0],
        where[1],
        item["offset"],
        item["message"],
        item.get("key"),
        item.get("headers"),
        item.get("timestamp") or 0,
    )
