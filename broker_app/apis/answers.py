"""What a broker's answers look like, for the API's description; see `http_base.answers`."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from http_base.answers import Answer, Message
from http_base.cluster import Place, ReplicaReport


class PartitionPopped(Answer, frozen=True):
    """The next messages of the partition, after `max_messages`."""

    topic: str
    partition: int
    messages: list[Message]
    missed: int
    corrupt: int


class SizeLeft(Answer, frozen=True):
    """How many messages are left for the consumer."""

    topic: str
    partition: int
    size: int
    remembers: bool | UnsetType = UNSET
    """With a `request_id`: whether a pop with it was done here, or is under way."""


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


class GroupForgottenHere(Answer, frozen=True):
    """A group is not known here any more; `forgotten` when it was."""

    topic: str
    partition: int
    group: str
    forgotten: bool


class WorkGroups(Answer, frozen=True):
    """Group of queue workers -> its topics here."""

    groups: dict[str, list[str]]


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


class BrokerHealth(Answer, frozen=True):
    """The broker answers; empty `reasons` say that it is ready."""

    reasons: list[str]


class Readiness(Answer, frozen=True):
    """The broker is ready; a failure names the reasons why it is not."""

    reasons: list[str]
