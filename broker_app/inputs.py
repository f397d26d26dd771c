"""Inputs of the calls that only a broker has; see also `http_base.cluster`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from myqueue.contract.inputs import Page, PartitionIndex, TopicName


class PartitionQuery(Page, frozen=True):
    """GET /partitions; `after` is a topic and an index, as `logs/3`."""

    after: Annotated[str, Meta(pattern=r"^([^/]{1,249}/[0-9]{1,9})?$")] = ""
    topic: TopicName | None = None
    partition: PartitionIndex | None = None
    leads: bool = False
    """True: only those that this broker leads."""
