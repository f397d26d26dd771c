"""Answers of the calls that only a broker has; see `myqueue.contract.answers`."""

from __future__ import annotations

from http_base.cluster import ReplicaPlace, ReplicaReport
from myqueue.contract.answers import AnswerPart, Success, SuccessPage
from raft_app.engine.replica import FollowerProgress


class PartitionName(Success, frozen=True):
    """The partition that was asked for."""

    topic: str
    partition: int


class CursorOpened(Success, frozen=True):
    """Offset of a cursor; `opened` when it is new."""

    topic: str
    partition: int
    offset: int
    opened: bool


class GroupForgottenHere(Success, frozen=True):
    """The partition does not know the group any more; `forgotten` when it did before."""

    topic: str
    partition: int
    group: str
    forgotten: bool


class ChangeProgress(AnswerPart, frozen=True):
    """Progress of a change of replicas."""

    target: list[ReplicaPlace]
    version: int
    step: str
    waiting_for: str
    done: bool


class LocalReplica(ReplicaReport, frozen=True, kw_only=True):
    """A replica on this broker: its report to managers, and the sizes of its tables."""

    cursors: int
    consumer_groups: int
    producers: int
    request_ids: int
    retention_ms: int
    retention_bytes: int
    followers: list[FollowerProgress]
    change: ChangeProgress | None


class LocalReplicas(SuccessPage, frozen=True):
    """Replicas on this broker."""

    partitions: list[LocalReplica]


class ChangeBegun(Success, frozen=True):
    """A change of replicas is under way."""

    group_id: int
    change: ChangeProgress


class ReplicaMade(Success, frozen=True):
    """A replica is on this broker."""

    partition: LocalReplica


class ReplicaDropped(Success, frozen=True):
    """A replica is not on this broker any more; `deleted` when it was before."""

    group_id: int
    deleted: bool


class LeadershipMoved(Success, frozen=True):
    """Another broker leads the partition."""

    group_id: int
    broker_id: int


class BrokerHealth(Success, frozen=True):
    """The broker answers; empty `reasons` say that it is ready."""

    reasons: list[str]


class Readiness(Success, frozen=True):
    """The broker is ready; a failure names the reasons why it is not."""

    reasons: list[str]
