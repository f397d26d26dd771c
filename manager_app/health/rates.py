"""What brokers count since their start, as rates: pure arithmetic over two answers of each."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from http_base.cluster import TopicTraffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from http_base.cluster import BrokerStanding


@dataclass(frozen=True, slots=True)
class Flow:
    """What goes through, in each second."""

    messages_in: float = 0.0
    messages_out: float = 0.0
    """Returned by pops and fetches, and delivered to workers."""
    bytes_in: float = 0.0
    bytes_out: float = 0.0

    def __add__(self, other: Flow) -> Flow:
        """Return both together."""
        return Flow(
            self.messages_in + other.messages_in,
            self.messages_out + other.messages_out,
            self.bytes_in + other.bytes_in,
            self.bytes_out + other.bytes_out,
        )


def flows_between(before: BrokerStanding, after: BrokerStanding, seconds: float) -> dict[str, Flow]:
    """Return what went through a broker in each second between two answers, by topic.

    A broker that started in between counts from its start.
    """
    is_same = after.uptime_s >= before.uptime_s
    nothing = TopicTraffic()
    return {
        topic: _flow(before.traffic.get(topic, nothing) if is_same else nothing, now, seconds)
        for topic, now in after.traffic.items()
    }


def _flow(before: TopicTraffic, now: TopicTraffic, seconds: float) -> Flow:
    def rate(*names: str) -> float:
        grown: int = sum(getattr(now, name) - getattr(before, name) for name in names)
        return max(0.0, grown / seconds)

    return Flow(
        messages_in=rate("messages_produced"),
        messages_out=rate("messages_popped", "messages_fetched", "messages_received"),
        bytes_in=rate("produced_bytes"),
        bytes_out=rate("popped_bytes", "fetched_bytes", "received_bytes"),
    )


def counts_between(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Return how many came into each bucket between two states of a histogram.

    Args:
        before: cumulated counts; empty, or higher ones, when the process started in between.
        after: cumulated counts.
    """
    if len(before) != len(after) or any(
        now < then for then, now in zip(before, after, strict=True)
    ):
        before = [0] * len(after)
    grown = [now - then for then, now in zip(before, after, strict=True)]
    return [later - earlier for earlier, later in pairwise([0, *grown])]


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Return the size that a share of all did not exceed; None when there were none.

    Args:
        bounds: upper ends of the buckets, ascending; the last bucket has none, and counts as
            twice the one before.
        counts: of each bucket.
        share: from 0 to 1.
    """
    cumulated, total = [], 0
    for count in counts:
        total += count
        cumulated.append(total)
    if not total or not bounds:
        return None
    wanted = share * total
    place = bisect_left(cumulated, wanted)
    low = bounds[place - 1] if place else 0.0
    high = bounds[place] if place < len(bounds) else 2 * bounds[-1]
    below = cumulated[place - 1] if place else 0
    return low + (high - low) * (wanted - below) / max(1, counts[place])


def merged(counts: Mapping[tuple[float, ...], list[list[int]]]) -> tuple[list[float], list[int]]:
    """Return the histograms with the most common bounds as one: its bounds and counts."""
    if not counts:
        return [], []
    bounds, lists = max(counts.items(), key=lambda item: len(item[1]))
    return list(bounds), [sum(column) for column in zip(*lists, strict=True)]
