"""The inputs of consumer groups and of queue workers, and the limits that they share.

A group's members are coordinated by the managers; what a group has read, and which of its messages
are out for work, is state of the partitions and asked of the brokers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, field

from myqueue.contract.errors import InvalidRequest
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    INT64_MAX,
    MAX_LISTED_PARTITIONS,
    MAX_PARTITIONS,
    Input,
    Offset,
    PartitionIndex,
    Start,
    TimeoutMs,
    Timestamp,
    TopicName,
    WaitMs,
    bounded,
    stated,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOPICS = 100
"""Topics of one member of a group."""
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
GroupName = Annotated[str, stated(pattern=r"^(?!\.\.?$)[A-Za-z0-9._-]{1,249}$")]
Topics = Annotated[list[TopicName], Meta(min_length=1, max_length=MAX_TOPICS)]
SessionTimeoutMs = Annotated[int, bounded(MIN_SESSION_TIMEOUT_MS, MAX_SESSION_TIMEOUT_MS)]
ReceiptCount = Annotated[int, bounded(0, MAX_RECEIPTS)]
VisibilityMs = Annotated[int, bounded(1, MAX_VISIBILITY_MS)]
DelayMs = Annotated[int, bounded(0, MAX_VISIBILITY_MS)]
DeliveryLimit = Annotated[int, bounded(1, MAX_DELIVERY_LIMIT)]
Receipt = Annotated[str, stated(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
Receipts = Annotated[list[Receipt], Meta(min_length=1, max_length=MAX_RECEIPTS)]
Generation = Annotated[int, bounded(0)]
FromZero = Annotated[int, bounded(0)]
Shift = Annotated[int, bounded(-INT64_MAX)]
PartitionIndexes = Annotated[list[PartitionIndex], Meta(min_length=1, max_length=MAX_PARTITIONS)]


class GroupJoin(Input, frozen=True):
    """POST /groups/{group}/join on a manager; with `member_id`: join again under the same id."""

    topics: Topics
    member_id: str | None = None
    session_timeout_ms: SessionTimeoutMs = DEFAULT_SESSION_TIMEOUT_MS


class GroupHeartbeat(Input, frozen=True):
    """POST /groups/{group}/heartbeat on a manager.

    `owned` (topic -> partitions) is what the member still reads or has not committed yet; what it
    leaves out of its assignment is free for others.
    """

    member_id: str
    generation: Generation
    owned: dict[str, list[PartitionIndex]]


class GroupLeave(Input, frozen=True):
    """POST /groups/{group}/leave on a manager: the member has committed and reads no more."""

    member_id: str


class OffsetsCommit(Input, frozen=True):
    """POST /offsets/commit, on a broker and on a manager.

    Without `offset`: fences older generations and tells where to start; `start` is where a group
    that never committed begins.
    """

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    generation: Generation
    offset: Offset | None = None
    start: Start = "earliest"
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class GroupOffsetsReset(Input, frozen=True):
    """PUT /groups/{group}/offsets on a manager: where the group goes on in a topic.

    Exactly one of `to`, `timestamp` (the first message at or after it), `offset` and `shift` (so
    many messages on, or back below 0). What is outside of a partition means its nearest end.
    Without `partitions` all of the topic. `dry_run` moves nothing; `force` sends those away who
    read in the group.
    """

    topic: TopicName
    to: Start | None = None
    timestamp: Timestamp | None = None
    offset: FromZero | None = None
    shift: Shift | None = None
    partitions: PartitionIndexes | None = None
    dry_run: bool = False
    force: bool = False
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS

    def __post_init__(self) -> None:
        ways = (self.to, self.timestamp, self.offset, self.shift)
        if sum(way is not None for way in ways) != 1:
            raise InvalidRequest(
                "give exactly one of to, timestamp, offset and shift", field="offset"
            )


class Offsets(Input, frozen=True):
    """GET /offsets, on a broker and on a manager: where a group is in a partition.

    With `age` also how old the oldest message left is, for which its batch is read.
    """

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    age: bool = False
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class Receive(Input, frozen=True):
    """POST /messages/receive, on a broker and on a manager.

    `max_messages` 0 delivers nothing: with `wait_ms` it is answered when there is something.
    `dead_letter_topic` is where a message goes after `delivery_limit` deliveries; the topic's name
    with `.dead` when left out.
    """

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    max_messages: ReceiptCount = 1
    visibility_ms: VisibilityMs = DEFAULT_VISIBILITY_MS
    delivery_limit: DeliveryLimit = DEFAULT_DELIVERY_LIMIT
    dead_letter_topic: TopicName | None = None
    start: Start = "earliest"
    wait_ms: WaitMs = 0
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class WorkAt(Input, frozen=True):
    """One of the partitions of a `POST /messages/receive` with a list."""

    topic: TopicName
    partition: PartitionIndex


class ReceiveSeveral(Input, frozen=True):
    """POST /messages/receive with a list: where there is something for a group's workers.

    It delivers nothing, so that a wait that ends early leaves no message invisible.
    """

    partitions: Annotated[list[WorkAt], Meta(min_length=1, max_length=MAX_LISTED_PARTITIONS)]
    group: GroupName
    wait_ms: WaitMs = 0
    tokens: dict[str, str] = field(default_factory=dict)
    """By topic, where `token` is of another one."""
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class Settle(Input, frozen=True):
    """POST /messages/ack, /messages/nack and /messages/extend, on a broker and on a manager.

    `delay_ms` belongs to nack, `visibility_ms` to extend.
    """

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    receipts: Receipts
    delay_ms: DelayMs | None = None
    visibility_ms: DelayMs | None = None
    token: str | None = None
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


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


def by_topic(partitions: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Return partitions in the shape of the calls: topic -> indexes, both in order."""
    found: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        found.setdefault(topic, []).append(index)
    return found
