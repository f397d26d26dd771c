"""What a broker's answers look like, for the API's description; see `http_base.answers`."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from http_base.answers import Answer, Message
from http_base.cluster import Place, ReplicaReport


class Appended(Answer, frozen=True):
    """Where the messages are: `count` from `base_offset` on, stored on a quorum."""

    partition: int
    base_offset: int
    count: int
    term: int


class PartitionPopped(Answer, frozen=True):
    """The next messages of the partition, after `max_messages`."""

    topic: str
    partition: int
    messages: list[Message]
    missed: int


class SizeLeft(Answer, frozen=True):
    """How many messages are left for the consumer."""

    topic: str
    partition: int
    size: int


class Fetched(Answer, frozen=True):
    """Messages from an offset on; go on at `next_offset`."""

    topic: str
    partition: int
    messages: list[Message]
    next_offset: int
    high_watermark: int
    log_start_offset: int


class PartitionName(Answer, frozen=True):
    """The partition that was asked for."""

    topic: str
    partition: int


class CursorOpened(Answer, frozen=True):
    """Where a cursor is; `opened` when it is new."""

    topic: str
    partition: int
    offset: int
    opened: bool


class GroupCommitted(Answer, frozen=True):
    """What a group has committed; retention has taken `missed` messages before that."""

    topic: str
    partition: int
    group: str
    generation: int
    offset: int
    missed: int


class GroupOffset(Answer, frozen=True):
    """Where a group is; `unsettled` and `dead` count messages of queue workers."""

    topic: str
    partition: int
    group: str
    generation: int
    offset: int
    high_watermark: int
    log_start_offset: int
    lag: int
    unsettled: int
    dead: int


class GroupForgottenHere(Answer, frozen=True):
    """A group is not known here any more; `forgotten` when it was."""

    topic: str
    partition: int
    group: str
    forgotten: bool


class Delivered(Message, frozen=True, kw_only=True):
    """A message for a worker; `receipt` is what ack, nack and extend take."""

    receipt: str
    delivery_count: int


class Received(Answer, frozen=True):
    """Messages for a worker."""

    topic: str
    partition: int
    group: str
    messages: list[Delivered]
    missed: int


class Settled(Answer, frozen=True):
    """What became of one receipt."""

    receipt: str
    done: bool
    reason: Literal["unknown", "superseded", "dead", "settled"] | UnsetType = UNSET


class SettledList(Answer, frozen=True):
    """What became of each receipt, in the order of the call."""

    results: list[Settled]


class FollowerProgress(Answer, frozen=True):
    """How far a follower is."""

    replica_id: int
    broker_id: int
    match_index: int
    state: str
    lag_entries: int


class ReplicaChange(Answer, frozen=True):
    """How far a change of replicas is."""

    target: list[Place]
    version: int
    step: str
    waiting_for: str
    done: bool


class LocalReplica(ReplicaReport, frozen=True, kw_only=True):
    """A replica on this broker: what it reports to managers, and how much it remembers."""

    cursors: int
    consumer_groups: int
    producers: int
    request_ids: int
    retention_ms: int
    retention_bytes: int
    followers: list[FollowerProgress]
    change: ReplicaChange | None


class LocalReplicas(Answer, frozen=True):
    """The replicas on this broker."""

    partitions: list[LocalReplica]


class ReplicaMade(Answer, frozen=True):
    """A replica is here."""

    partition: LocalReplica


class ReplicaDropped(Answer, frozen=True):
    """A replica is not here any more; `deleted` when it was."""

    group_id: int
    deleted: bool


class ChangeBegun(Answer, frozen=True):
    """A change of replicas goes on."""

    group_id: int
    change: ReplicaChange


class LeadershipMoved(Answer, frozen=True):
    """Another broker leads."""

    group_id: int
    broker_id: int


class Readiness(Answer, frozen=True):
    """The broker is ready; a failure names the reasons why it is not."""

    reasons: list[str]
