"""The calls of a consumer group: of its members at a manager, of its offsets at a partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from myqueue.contract.answers import MemberAssignment
from myqueue.contract.errors import Internal
from myqueue.contract.http1 import Request
from myqueue.contract.inputs import MSGPACK, prepare_type
from myqueue.transport.blocking import msgpack_request
from myqueue.transport.leader_call import LeaderCall, posting

if TYPE_CHECKING:
    from myqueue.results import Registration
    from myqueue.transport.rotation import TopicPartition


def group_path(group: str, action: str = "") -> str:
    """Return the path of a group, or of what is done to it."""
    return f"/groups/{quote(group, safe='')}{action and '/'}{action}"


def group_request(group: str, action: str, fields: dict[str, Any]) -> Request:
    """Return the request of a member to a manager: join, heartbeat or leave."""
    return msgpack_request("POST", group_path(group, action), fields)


def commit_call(
    where: TopicPartition,
    group: str,
    generation: int,
    *,
    offset: int | None = None,
    start: str = "earliest",
    timeout_ms: int,
) -> LeaderCall:
    """Return the call that moves a group's offset.

    Args:
        where: topic and partition.
        group: name of the group.
        generation: that under which the member holds the partition.
        offset: everything below is read. Without it, older generations are fenced off and the
            answer says where to begin.
        start: earliest or latest, for a group that is new in the partition.
        timeout_ms: how long a broker may wait for a quorum.
    """
    fields = {
        "group": group,
        "generation": generation,
        "offset": offset,
        "start": start,
        "timeout_ms": timeout_ms,
    }
    request = posting("/offsets/commit", where, fields)
    return LeaderCall(*where, request, request)


def by_time_call(where: TopicPartition, timestamp: int) -> LeaderCall:
    """Return the call that finds the first offset appended at or after a time."""
    topic, partition = where

    def request(registration: Registration) -> Request:
        return Request(
            "GET",
            "/offsets/by-time",
            query={"topic": topic, "partition": partition, "timestamp": timestamp},
            accept=MSGPACK,
            token=registration.token,
        )

    return LeaderCall(topic, partition, request, request)


def read_assignment(body: dict[str, Any]) -> MemberAssignment:
    """Return what a manager told a member when it joined, or at a heartbeat.

    Raises:
        Internal: it is of another version, or not of a manager.
    """
    prepare_type(MemberAssignment)
    try:
        return msgspec.convert(body, MemberAssignment)
    except msgspec.ValidationError as error:
        raise Internal(f"an answer of a manager cannot be read: {error}") from error


def partitions_of(assignment: MemberAssignment) -> set[TopicPartition]:
    """Return what a member may read."""
    topics = assignment.assignment.items()
    return {(topic, index) for topic, indexes in topics for index in indexes}
