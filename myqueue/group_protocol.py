"""The inputs of consumer groups and of queue workers, and the limits that they share.

A group's members are coordinated by the managers; what a group has read, and which of its messages
are out for work, is state of the partitions and asked of the brokers.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from myqueue.errors import InvalidRequest
from myqueue.protocol import DEFAULT_TIMEOUT_MS, Input, Int64

MAX_RECEIPTS = 1_000
"""Receipts in one ack, nack or extend."""
MIN_SESSION_TIMEOUT_MS, MAX_SESSION_TIMEOUT_MS = 1_000, 600_000
DEFAULT_SESSION_TIMEOUT_MS = 30_000
HEARTBEATS_PER_SESSION = 10
"""How many heartbeats a member is asked for within its session timeout."""
MAX_VISIBILITY_MS = 12 * 60 * 60 * 1000
"""Longest visibility timeout and longest delay of a nack: 12 hours."""
DEFAULT_VISIBILITY_MS = 30_000
MAX_DELIVERY_LIMIT = 1_000
DEFAULT_DELIVERY_LIMIT = 5
DEAD_LETTER_SUFFIX = ".dead"
"""Ends the name of a topic's dead-letter topic where none is named."""

GROUP_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
Generation = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class GroupJoin(Input, frozen=True):
    """POST /groups/{group}/join on a manager; with `member_id`: join again under the same id."""

    topics: list[str]
    member_id: str | None = None
    session_timeout_ms: Int64 = DEFAULT_SESSION_TIMEOUT_MS


class GroupHeartbeat(Input, frozen=True):
    """POST /groups/{group}/heartbeat on a manager.

    `owned` (topic -> partitions) is what the member still reads or has not committed yet; what it
    leaves out of its assignment is free for others.
    """

    member_id: str
    generation: Generation
    owned: dict[str, list[Int64]]


class GroupLeave(Input, frozen=True):
    """POST /groups/{group}/leave on a manager: the member has committed and reads no more."""

    member_id: str


class OffsetsCommit(Input, frozen=True):
    """POST /offsets/commit on a broker.

    Without `offset`: fences older generations and tells where to start; `start` is where a group
    that never committed begins.
    """

    topic: str
    partition: Int64
    group: str
    generation: Generation
    offset: Int64 | None = None
    start: str = "earliest"
    token: str | None = None
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class Offsets(Input, frozen=True):
    """GET /offsets on a broker: where a group is in a partition."""

    topic: str
    partition: Int64
    group: str
    token: str | None = None
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class Receive(Input, frozen=True):
    """POST /messages/receive on a broker.

    `max_messages` 0 delivers nothing: with `wait_ms` it is answered when there is something.
    `dead_letter_topic` is where a message goes after `delivery_limit` deliveries; the topic's name
    with `.dead` when left out.
    """

    topic: str
    partition: Int64
    group: str
    max_messages: Int64 = 1
    visibility_ms: Int64 = DEFAULT_VISIBILITY_MS
    delivery_limit: Int64 = DEFAULT_DELIVERY_LIMIT
    dead_letter_topic: str | None = None
    start: str = "earliest"
    wait_ms: Int64 = 0
    token: str | None = None
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class Settle(Input, frozen=True):
    """POST /messages/ack, /messages/nack and /messages/extend on a broker.

    `delay_ms` belongs to nack, `visibility_ms` to extend.
    """

    topic: str
    partition: Int64
    group: str
    receipts: list[str]
    delay_ms: Int64 | None = None
    visibility_ms: Int64 | None = None
    token: str | None = None
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


def check_group_name(group: str) -> str:
    """Return the name of a consumer group: the characters and length of a topic's name.

    Raises:
        InvalidRequest: it is none.
    """
    if not GROUP_NAME.fullmatch(group) or group in (".", ".."):
        raise InvalidRequest(
            f"{group[:260]!r} is no group name: 1 to 249 of A-Z a-z 0-9 . _ - and not '.' or '..'",
            field="group",
        )
    return group
