"""The calls of a consumer at a partition: pop and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myqueue.http1 import Request
from myqueue.protocol import MSGPACK
from myqueue.results import Message
from myqueue.session import LeaderCall
from myqueue.transport import encode_body

if TYPE_CHECKING:
    from myqueue.pops import Pop, TopicPartition
    from myqueue.results import Registration


def pop_call(where: TopicPartition, pop: Pop, *, wait_ms: int, timeout_ms: int) -> LeaderCall:
    """Return the call that pops messages; every try carries the same request id."""
    topic, partition = where

    def request(registration: Registration) -> Request:
        fields: dict[str, Any] = {
            "topic": topic,
            "partition": partition,
            "consumer_id": registration.client_id,
            "token": registration.token or None,
            "max_messages": pop.max_messages,
            "wait_ms": wait_ms,
            "request_id": pop.request_id,
            "timeout_ms": timeout_ms,
        }
        return Request(
            "POST",
            "/consumer/consume",
            body=encode_body(fields),
            content_type=MSGPACK,
            accept=MSGPACK,
            token=registration.token,
        )

    return LeaderCall(topic, partition, request, request, wait_ms)


def size_request(where: TopicPartition, registration: Registration, *, wait_ms: int) -> Request:
    """Return the request for what is left; with `wait_ms` it is held while nothing is."""
    query: dict[str, str | int] = {
        "topic": where[0],
        "partition": where[1],
        "consumer_id": registration.client_id,
    }
    if wait_ms:
        query["wait_ms"] = wait_ms
    return Request("GET", "/size", query=query, accept=MSGPACK, token=registration.token)


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
