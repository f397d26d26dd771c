"""Figures of a broker for `GET /metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from broker_app import runtime
from broker_app.client_origins import Table
from http_base.memory_metrics import memory_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from broker_app.client_origins import ClientOrigins
    from raft_app.engine.engine import Engine
    from raft_app.engine.tick_intervals import TickIntervals
    from raft_app.storage.stream import StorageStream

RETENTION_FAILURES = Counter(
    "queue_broker_retention_failures",
    "Partitions that a round of retention left as they were because of an unexpected error",
)


class BrokerCollector:
    """Reads the gauges off the running broker when they are asked for."""

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; none while no broker runs in this process."""
        broker = runtime.installed()
        if broker is None:
            return
        replicas = GaugeMetricFamily(
            "queue_broker_replicas", "Replicas on this broker, by role", labels=["role"]
        )
        roles: dict[str, int] = {}
        unsettled = dead = asleep = 0
        for replica in broker.engine.replicas.values():
            role = "faulty" if replica.faulty else str(replica.role)
            roles[role] = roles.get(role, 0) + 1
            asleep += not replica.faulty and replica.is_asleep
            if replica.serves:
                out, waiting = runtime.state_of(replica).works.counts()
                unsettled, dead = unsettled + out, dead + waiting
        for role, count in sorted(roles.items()):
            replicas.add_metric([role], count)
        yield replicas
        polls = broker.long_polls.waiting + broker.work_waits.waiting
        for name, text, value in (
            ("replicas_asleep", "Replicas whose partition is idle and costs nothing", asleep),
            ("long_polls", "Open long polls", polls),
            ("unsettled_messages", "Messages out with workers, of partitions led here", unsettled),
            ("dead_messages", "Dead messages not copied yet, of partitions led here", dead),
            (
                "parked_bytes",
                "Bytes of batches before their turn",
                broker.out_of_order.parked_bytes,
            ),
            ("decoded_bytes", "Bytes of batches kept decoded", broker.decode_cache.size_bytes),
            (
                "intervals_without_tick",
                "Tick intervals since the last tick",
                broker.engine.watchdog.intervals_without_tick,
            ),
            (
                "write_seconds_so_far",
                "How long the transaction under way has taken",
                broker.engine.slow_disk.seconds_so_far,
            ),
        ):
            yield GaugeMetricFamily(f"queue_broker_{name}", text, value=value)
        yield from memory_families("queue_broker", broker.memory.shares)
        yield from _transactions(broker.engine.stream)
        yield from _ticks(broker.engine.watchdog.tick_intervals)
        yield from _transport(broker.engine)
        yield from _origins(broker.client_origins)
        yield from broker.traffic.collect()


def _ticks(intervals: TickIntervals) -> Iterator[Metric]:
    """Yield how evenly ticks come."""
    bounds = [*(f"{bound:g}" for bound in intervals.bounds_s), "+Inf"]
    yield HistogramMetricFamily(
        "queue_broker_tick_interval_seconds",
        "Time between one tick and the next in the loop",
        buckets=list(zip(bounds, intervals.cumulated(), strict=True)),
        sum_value=intervals.sum_s,
    )
    yield CounterMetricFamily(
        "queue_broker_ticks_late",
        "Ticks that came more than two intervals after the one before",
        value=intervals.late,
    )


def _transport(engine: Engine) -> Iterator[Metric]:
    """Yield what went between this broker and its peers, and what did not."""
    counters = engine.transport_counters
    for name, text, value in (
        ("raft_frames_sent", "Frames sent to peers", counters.frames_sent),
        ("raft_frames_received", "Frames received from peers", counters.frames_received),
        ("raft_sent_bytes", "Bytes sent to peers", counters.bytes_sent),
        ("raft_received_bytes", "Bytes received from peers", counters.bytes_received),
        (
            "raft_rpcs_unknown",
            "RPCs for a partition or replica that is not here",
            engine.incoming.unknown_groups,
        ),
        (
            "peer_silences",
            "Peers that fell silent while their connection was up",
            engine.guard.silences,
        ),
        ("scrub_passes", "Complete verifications of all replicas", engine.scrubber.passes),
    ):
        yield CounterMetricFamily(f"queue_broker_{name}", text, value=value)
    dropped = CounterMetricFamily(
        "queue_broker_raft_frames_dropped", "Frames not sent to peers, by kind", labels=["kind"]
    )
    dropped.add_metric(["append"], counters.dropped_appends)
    dropped.add_metric(["control"], counters.dropped_control)
    rejected = CounterMetricFamily(
        "queue_broker_raft_connections_rejected",
        "Connections of peers that were refused or broken, by reason",
        labels=["reason"],
    )
    for reason, count in sorted(counters.rejected_connections.items()):
        rejected.add_metric([reason], count)
    yield from (dropped, rejected)


def _origins(origins: ClientOrigins) -> Iterator[Metric]:
    """Yield what was refused because of the limits of addresses."""
    refused = CounterMetricFamily(
        "queue_broker_new_entries_refused",
        "New consumer groups, cursors and producers refused for the limit of their address",
        labels=["table"],
    )
    for table in Table:
        refused.add_metric([table.name.lower()], origins.refused[table])
    yield refused


def _transactions(stream: StorageStream) -> Iterator[Metric]:
    """Yield what the disk did."""
    for name, text, value in (
        ("transactions", "Transactions of the storage", stream.transactions),
        ("transaction_seconds", "Time spent in them, syncs included", stream.seconds),
    ):
        yield CounterMetricFamily(f"queue_broker_{name}", text, value=value)


_collector = BrokerCollector()
_registries: set[CollectorRegistry] = set()


def register(registry: CollectorRegistry) -> None:
    """Let a registry show the broker's gauges; again is no error."""
    if registry not in _registries:
        registry.register(_collector)
        _registries.add(registry)
