"""A call to a partition's leader, before it is known who that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from myqueue.contract.http1 import Request
from myqueue.transport.blocking import msgpack_request

if TYPE_CHECKING:
    from myqueue.results import Registration
    from myqueue.transport.rotation import TopicPartition


class LeaderCall(Struct, frozen=True):
    """A call that belongs to a partition's leader, harmless when repeated.

    The requests are made anew for each try, with the registration as it then is; what makes the
    repetition recognisable (sequence, request id) is the same in each.
    """

    topic: str
    partition: int
    direct: Callable[[Registration], Request]
    """The request to a broker."""
    through_manager: Callable[[Registration], Request]
    """The same for a manager to pass on."""
    wait_ms: int = 0
    """How long the server may hold the request on top of its own time."""


def listing(
    path: str,
    places: list[TopicPartition],
    registrations: Mapping[str, Registration],
    fields: dict[str, Any],
    *,
    names_consumer: bool = False,
) -> Request:
    """Return a request for several partitions of a server.

    Args:
        path: of the call.
        places: topics and partitions.
        registrations: by topic.
        fields: of the body, besides those and the tokens.
        names_consumer: True when the call is about the consumers of the registrations.
    """
    listed: list[dict[str, Any]] = [
        {"topic": topic, "partition": partition}
        | ({"consumer_id": registrations[topic].client_id} if names_consumer else {})
        for topic, partition in places
    ]
    tokens = {topic: one.token for topic, one in registrations.items() if one.token}
    return msgpack_request("POST", path, {**fields, "partitions": listed, "tokens": tokens})


def posting(
    path: str, where: TopicPartition, fields: dict[str, Any], *, names_consumer: bool = False
) -> Callable[[Registration], Request]:
    """Return what makes a request to a partition, under a registration as it then is.

    Args:
        path: of the call.
        where: topic and partition.
        fields: of the body, besides those and the token.
        names_consumer: True when the call is about the consumer of the registration.
    """
    topic, partition = where

    def request(registration: Registration) -> Request:
        own = {"consumer_id": registration.client_id} if names_consumer else {}
        body = {"topic": topic, "partition": partition, **own, **fields}
        body["token"] = registration.token or None
        return msgpack_request("POST", path, body, token=registration.token)

    return request
