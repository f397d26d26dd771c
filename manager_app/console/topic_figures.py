"""What is in topics, as the brokers last reported it, for pages that list them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection
from django.db.models import F
from django.db.models.functions import Collate
from django.db.models.lookups import GreaterThan

from http_base.paging import Page, page_of
from manager_app.console.formats import size
from manager_app.console.quantities import write_duration_ms
from manager_app.models import BrokerState, ConsumerGroup, Partition, Replica, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    ReplicaRow = tuple[int, int, int, int | None, int, int, int]


class PartitionFigures(NamedTuple):
    """What one partition has."""

    messages: int = 0
    size_bytes: int = 0
    """Of one replica."""


@dataclass(frozen=True, slots=True)
class TopicFigures:
    """A topic in a list."""

    topic: Topic
    partitions: int
    leaderless: int
    """Partitions that no live broker leads."""
    messages: int
    size_bytes: int
    """Of one replica of each partition."""
    groups: int
    """Consumer groups that read it."""

    @property
    def kept(self) -> str:
        """How long and how much it keeps."""
        return kept(self.topic)


def kept(topic: Topic) -> str:
    """Return how long and how much a topic keeps, in words."""
    limits = []
    if topic.retention_ms:
        limits.append(write_duration_ms(topic.retention_ms))
    if topic.retention_bytes:
        limits.append(f"{size(topic.retention_bytes)} a partition")
    return " or ".join(limits) or "for good"


def topics_listed(*, after: str, named: str, limit: int) -> Page[TopicFigures]:
    """Return topics by name, with what is in them.

    Args:
        after: the name before the first.
        named: what the names contain; upper and lower case are the same.
        limit: most topics.
    """
    name = F("name") if connection.vendor == "sqlite" else Collate("name", "C")
    rows = Topic.objects.filter(GreaterThan(name, after)).order_by(name)
    if named:
        rows = rows.filter(name__icontains=named)
    page = page_of(rows[: limit + 1], limit, lambda topic: topic.name)
    return Page(_figures(page.rows), page.next)


def partition_figures(topic_ids: Collection[int]) -> dict[int, dict[int, PartitionFigures]]:
    """Return what the partitions of topics have: topic id -> group id -> figures.

    Of the leader, or else of the replica that has most.
    """
    rows = Replica.objects.filter(partition__topic_id__in=topic_ids).order_by()
    found: dict[int, dict[int, PartitionFigures]] = defaultdict(dict)
    best: dict[int, tuple[bool, int]] = {}
    for topic_id, group_id, broker_id, leader_id, begin, end, size_bytes in rows.values_list(
        *("partition__topic_id", "partition_id", "broker_id", "partition__leader_id"),
        *("log_start_offset", "high_watermark", "size_bytes"),
    ):
        rank = (broker_id == leader_id, end)
        if rank >= best.get(group_id, (False, -1)):
            best[group_id] = rank
            found[topic_id][group_id] = PartitionFigures(max(0, end - begin), size_bytes)
    return found


def groups_of_topics() -> Counter[str]:
    """Return how many consumer groups read each topic, by its name."""
    counted: Counter[str] = Counter()
    for topics in ConsumerGroup.objects.values_list("topics", flat=True):
        counted.update(topics.keys())
    return counted


def _figures(topics: Iterable[Topic]) -> list[TopicFigures]:
    topics = list(topics)
    ids = [topic.pk for topic in topics]
    of_partitions = partition_figures(ids)
    counts: Counter[int] = Counter()
    leaderless: Counter[int] = Counter()
    rows = Partition.objects.filter(topic_id__in=ids).order_by()
    for topic_id, leader_state in rows.values_list("topic_id", "leader__state"):
        counts[topic_id] += 1
        leaderless[topic_id] += leader_state != BrokerState.ALIVE
    groups = groups_of_topics()
    return [
        TopicFigures(
            topic,
            counts[topic.pk],
            leaderless[topic.pk],
            sum(one.messages for one in of_partitions[topic.pk].values()),
            sum(one.size_bytes for one in of_partitions[topic.pk].values()),
            groups[topic.name],
        )
        for topic in topics
    ]
