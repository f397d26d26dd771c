"""Inputs of the internal calls of a broker (cluster token required)."""

from __future__ import annotations

from myqueue.protocol import DEFAULT_TIMEOUT_MS, Input, Int64


class CursorOpen(Input, frozen=True):
    """POST /cursors/open."""

    topic: str
    partition: Int64
    consumer_id: Int64
    start: str
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class ClientForgetHere(Input, frozen=True):
    """POST /clients/forget: exactly one of `producer_id` and `consumer_id`."""

    topic: str
    partition: Int64
    producer_id: Int64 = 0
    consumer_id: Int64 = 0
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class GroupForgetHere(Input, frozen=True):
    """POST /groups/forget."""

    topic: str
    partition: Int64
    group: str
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS


class PartitionQuery(Input, frozen=True):
    """GET /partitions."""

    topic: str | None = None


class PartitionDelete(Input, frozen=True):
    """DELETE /partitions/{group_id}; with `epoch`, refused below the highest seen.

    Without `replica_id` the topic's deletion is final: `topic` and `partition` are needed then, and
    a replica of another partition stays. With it that replica goes, if it is here and its group has
    removed it.
    """

    epoch: Int64 = 0
    replica_id: Int64 = 0
    topic: str | None = None
    partition: Int64 | None = None


class LeaderTransfer(Input, frozen=True):
    """POST /partitions/{group_id}/leader; with `epoch`, refused below the highest seen."""

    broker_id: Int64
    epoch: Int64 = 0
    timeout_ms: Int64 = DEFAULT_TIMEOUT_MS
