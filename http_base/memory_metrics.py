"""Figures of the memory budget for `GET /metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from http_base.memory_budget import MemoryShare


def memory_families(prefix: str, shares: Iterable[MemoryShare]) -> Iterator[Metric]:
    """Yield what each share of a budget holds, may hold, and has refused.

    Args:
        prefix: of the names, `queue_broker` or `queue_manager`.
        shares: those that this process uses.
    """
    used = GaugeMetricFamily(
        f"{prefix}_memory_bytes", "Bytes held in memory, by share", labels=["share"]
    )
    limits = GaugeMetricFamily(
        f"{prefix}_memory_limit_bytes", "Most bytes of a share of memory", labels=["share"]
    )
    refusals = CounterMetricFamily(
        f"{prefix}_memory_refusals", "What a share of memory had no room for", labels=["share"]
    )
    for share in shares:
        used.add_metric([share.name], share.used_bytes)
        limits.add_metric([share.name], share.limit_bytes)
        refusals.add_metric([share.name], share.refusals)
    yield from (used, limits, refusals)


class _Collector:
    """Reads the shares of a budget when they are asked for."""

    def __init__(self, prefix: str, shares: Sequence[MemoryShare]) -> None:
        self._prefix, self._shares = prefix, shares

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        yield from memory_families(self._prefix, self._shares)


def show_memory(
    prefix: str, shares: Sequence[MemoryShare], registry: CollectorRegistry = REGISTRY
) -> None:
    """Let a registry show these shares; see `memory_families`."""
    registry.register(_Collector(prefix, shares))
