"""Inputs of the internal calls of a broker (cluster token required)."""

from __future__ import annotations

from typing import Annotated

from myqueue.contract.group_inputs import GroupName
from myqueue.contract.inputs import (
    DEFAULT_TIMEOUT_MS,
    Id,
    Input,
    PartitionIndex,
    Start,
    TimeoutMs,
    TopicName,
    int64,
)

IdOrNone = Annotated[int, int64(0)]
"""0 for none."""


class CursorOpen(Input, frozen=True):
    """POST /cursors/open."""

    topic: TopicName
    partition: PartitionIndex
    consumer_id: Id
    start: Start
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class ClientForgetHere(Input, frozen=True):
    """POST /clients/forget: exactly one of `producer_id` and `consumer_id`."""

    topic: TopicName
    partition: PartitionIndex
    producer_id: IdOrNone = 0
    consumer_id: IdOrNone = 0
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class GroupForgetHere(Input, frozen=True):
    """POST /groups/forget."""

    topic: TopicName
    partition: PartitionIndex
    group: GroupName
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS


class PartitionQuery(Input, frozen=True):
    """GET /partitions."""

    topic: TopicName | None = None


class PartitionDelete(Input, frozen=True):
    """DELETE /partitions/{group_id}; with `epoch`, refused below the highest seen.

    Without `replica_id` the topic's deletion is final: `topic` and `partition` are needed then, and
    a replica of another partition stays. With it that replica goes, if it is here and its group has
    removed it.
    """

    epoch: IdOrNone = 0
    replica_id: IdOrNone = 0
    topic: TopicName | None = None
    partition: PartitionIndex | None = None


class LeaderTransfer(Input, frozen=True):
    """POST /partitions/{group_id}/leader; with `epoch`, refused below the highest seen."""

    broker_id: Id
    epoch: IdOrNone = 0
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS
