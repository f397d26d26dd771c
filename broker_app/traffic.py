"""What went through a broker, by topic: counters that only grow, for metrics and for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from prometheus_client.core import CounterMetricFamily

from http_base.cluster import TopicTraffic
from http_base.families import histogram
from http_base.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from prometheus_client.core import Metric

TOPICS_SHOWN_MAX = 100
"""Topics with a label of their own in `/metrics`; what went through all further ones is `other`."""
OTHER = "other"
BATCH_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
BATCH_BYTES = tuple(256 << 2 * step for step in range(9))
"""From 256 bytes to 16 MiB."""

_FIGURES = {
    "messages_produced": "Messages of acknowledged produce calls, retries included",
    "batches_produced": "Record batches of acknowledged produce calls, retries included",
    "produced_bytes": "Bytes of these batches, as they are stored",
    "messages_popped": "Messages returned by pops, retries included",
    "popped_bytes": "Bytes of these messages",
    "messages_fetched": "Messages in record batches returned by fetches",
    "batches_fetched": "Record batches returned by fetches",
    "fetched_bytes": "Bytes of these batches, as they are stored",
    "messages_received": "Messages delivered to workers, again or for the first time",
    "messages_redelivered": "Messages delivered to workers again",
    "received_bytes": "Bytes of these messages",
    "messages_acknowledged": "Messages that workers acknowledged",
    "offsets_committed": "Commits of consumer groups that took effect, fences included",
    "dead_letters": "Dead messages copied to dead-letter topics, by the topic that they come from",
    "messages_retired": "Messages of partitions led here that retention let go of",
    "messages_corrupt": (
        "Messages that were stepped over because their batch cannot be decoded, by each who reads"
    ),
}
"""Field of `TopicTraffic` -> what it counts; the metric is `queue_broker_<field>_total`."""
assert tuple(_FIGURES) == TopicTraffic.__struct_fields__


class Traffic(dict[str, TopicTraffic]):
    """Topic -> its counters on this broker, made when they are first asked for.

    `traffic[topic].messages_produced += 1` calls no function of Python, and is all that a message
    costs. Only the event loop counts.
    """

    def __init__(self, *, shown_max: int = TOPICS_SHOWN_MAX) -> None:
        """Count nothing yet.

        Args:
            shown_max: topics with a label of their own; a topic keeps it until it is forgotten,
                so that no counter ever falls.
        """
        self.batch_messages, self.batch_bytes = Histogram(BATCH_MESSAGES), Histogram(BATCH_BYTES)
        """Sizes of the produced batches of all topics."""
        self._shown_max = shown_max
        self._shown: set[str] = set()
        self._gone = TopicTraffic()
        """Of the topics without a label that are forgotten."""

    def __missing__(self, topic: str) -> TopicTraffic:
        """Begin to count for a topic."""
        self.label_of(topic)
        counters = self[topic] = TopicTraffic()
        return counters

    def label_of(self, topic: str) -> str:
        """Return what metrics call a topic: its name, or `OTHER` beyond the limit."""
        may_begin = topic not in self and topic not in self._shown and topic != OTHER
        if may_begin and len(self._shown) < self._shown_max:
            self._shown.add(topic)
        return topic if topic in self._shown else OTHER

    def forget_others(self, topics: Container[str]) -> None:
        """Forget all topics but these."""
        for topic in [topic for topic in self if topic not in topics]:
            counters = self.pop(topic)
            if topic not in self._shown:
                _add(self._gone, counters)
        self._shown = {topic for topic in self._shown if topic in topics}

    def collect(self) -> Iterator[Metric]:
        """Yield the counters by topic."""
        other = msgspec.structs.replace(self._gone)
        for topic, counters in self.items():
            if topic not in self._shown:
                _add(other, counters)
        shown = [(topic, self[topic]) for topic in sorted(self.keys() & self._shown)]
        if other != TopicTraffic():
            shown.append((OTHER, other))
        for name, text in _FIGURES.items():
            family = CounterMetricFamily(f"queue_broker_{name}", text, labels=["topic"])
            for topic, counters in shown:
                family.add_metric([topic], getattr(counters, name))
            yield family
        for name, text, sizes in (
            ("batch_messages", "Messages of each produced batch", self.batch_messages),
            ("batch_bytes", "Bytes of each produced batch", self.batch_bytes),
        ):
            yield histogram(f"queue_broker_{name}", text, sizes)


def summed(all_counters: Iterable[TopicTraffic]) -> TopicTraffic:
    """Return the counters of several topics together."""
    total = TopicTraffic()
    for counters in all_counters:
        _add(total, counters)
    return total


def _add(total: TopicTraffic, counters: TopicTraffic) -> None:
    for name in _FIGURES:
        setattr(total, name, getattr(total, name) + getattr(counters, name))
