"""The calls of a queue worker at a partition: receive, wait, acknowledge, give back, extend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.group_inputs import (
    DEFAULT_DELIVERY_LIMIT,
    DEFAULT_VISIBILITY_MS,
    MAX_VISIBILITY_MS,
    DeliveryLimit,
    VisibilityMs,
    check_group_name,
)
from myqueue.contract.inputs import Start, check_fields, check_topic_name
from myqueue.results import Delivery
from myqueue.transport.leader_call import LeaderCall, listing, posting
from myqueue.transport.topic_names import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from myqueue.contract.http1 import Request
    from myqueue.results import Registration
    from myqueue.transport.rotation import TopicPartition

ACK, NACK, EXTEND = "/messages/ack", "/messages/nack", "/messages/extend"


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """How a worker takes part in its group.

    Raises:
        InvalidRequest: a value is impossible; the field is named.
    """

    group: str
    visibility_ms: VisibilityMs = DEFAULT_VISIBILITY_MS
    """How long a message that was delivered stays out of others' hands."""
    delivery_limit: DeliveryLimit = DEFAULT_DELIVERY_LIMIT
    """Deliveries after which a message that was not acknowledged is dead."""
    dead_letter_topic: str | None = None
    """Where it goes then; the topic's name with `.dead` when left out."""
    start: Start = "earliest"
    """Where a group begins that is new in a partition: earliest or latest."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.group:
            raise InvalidRequest(
                "a worker needs the name of its group: Worker(topics, address, group)",
                field="group",
            )
        check_group_name(self.group)
        if self.dead_letter_topic is not None:
            check_topic_name(self.dead_letter_topic)


def work_ms(field: str, seconds: float) -> int:
    """Return a time of a worker in the unit of its calls.

    Raises:
        InvalidRequest: it is negative, or longer than 12 hours.
    """
    return milliseconds(field, seconds, longest_s=MAX_VISIBILITY_MS / 1000)


def flat(given: Sequence[Any]) -> list[Delivery]:
    """Return deliveries that were given one by one, or as lists that `receive` returned.

    Raises:
        InvalidRequest: one is something else.
    """
    found: list[Delivery] = []
    for one in given:
        if isinstance(one, Delivery):
            found.append(one)
        elif isinstance(one, list | tuple):
            found += flat(one)
        else:
            raise InvalidRequest(
                f"deliveries are what receive returns, one by one or as a list, not"
                f" {type(one).__name__}",
                field="deliveries",
            )
    return found


def look_request(
    places: list[TopicPartition],
    registrations: Mapping[str, Registration],
    *,
    group: str,
    wait_ms: int,
) -> Request:
    """Return the request that says which partitions have something for a group's workers.

    Args:
        places: topics and partitions.
        registrations: by topic.
        group: of the worker.
        wait_ms: how long it is held while none has.
    """
    return listing("/messages/receive", places, registrations, {"group": group, "wait_ms": wait_ms})


def receive_call(
    where: TopicPartition,
    options: WorkOptions,
    *,
    max_messages: int,
    start: str,
    timeout_ms: int,
) -> LeaderCall:
    """Return the call that takes messages for work.

    Args:
        where: topic and partition.
        options: of the worker.
        max_messages: how many at most; with 0 nothing is delivered, but the group begins.
        start: where the group begins when it is new here.
        timeout_ms: how long a broker may wait for a quorum.
    """
    fields = {
        "group": options.group,
        "max_messages": max_messages,
        "visibility_ms": options.visibility_ms,
        "delivery_limit": options.delivery_limit,
        "dead_letter_topic": options.dead_letter_topic,
        "start": start,
        "timeout_ms": timeout_ms,
    }
    request = posting("/messages/receive", where, fields)
    return LeaderCall(*where, request, request)


def settle_call(
    path: str,
    where: TopicPartition,
    group: str,
    receipts: Sequence[str],
    *,
    timeout_ms: int,
    **fields: int | None,
) -> LeaderCall:
    """Return the call that acks, nacks or extends deliveries of one partition.

    Args:
        path: `ACK`, `NACK` or `EXTEND`.
        where: topic and partition.
        group: of the worker.
        receipts: of the deliveries.
        timeout_ms: how long a broker may wait for a quorum.
        fields: `delay_ms` of a nack, `visibility_ms` of an extend.
    """
    common = {"group": group, "receipts": list(receipts), "timeout_ms": timeout_ms}
    request = posting(path, where, {**common, **fields})
    return LeaderCall(*where, request, request)


def received_delivery(item: dict[str, Any], where: TopicPartition) -> Delivery:
    """Return a message of a receive answer."""
    return Delivery(
        where[0],
        where[1],
        item["offset"],
        item["message"],
        item.get("key"),
        item.get("headers"),
        item.get("timestamp") or 0,
        item["receipt"],
        item["delivery_count"],
    )
