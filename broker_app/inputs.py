"""Inputs of the calls that only a broker has; see also `http_base.cluster`."""

from __future__ import annotations

from myqueue.contract.inputs import Input, TopicName


class PartitionQuery(Input, frozen=True):
    """GET /partitions."""

    topic: TopicName | None = None
