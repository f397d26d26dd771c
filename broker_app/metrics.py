"""Figures of a broker for `GET /metrics`, all of them here but what `broker_app.traffic` counts.

Replicas are looked at in parts, so that a broker of 10,000 partitions goes on with its work; no
figure has a label by partition.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import prometheus_client

from broker_app import runtime as runtimes
from broker_app.client_origins import Table
from http_base.families import counter_by, counters, gauge_by, gauges, histogram
from http_base.memory_metrics import memory_families
from raft_app.core.types import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from broker_app.runtime import BrokerRuntime
    from raft_app.engine.engine import Engine
    from raft_app.engine.replica import Replica

RETENTION_FAILURES = prometheus_client.Counter(
    "queue_broker_retention_failures",
    "Partitions that a round of retention left as they were because of an unexpected error",
)
PREFIX = "queue_broker"
LOOKED_AT_ONCE = 250
"""Replicas that are looked at before others have their turn in the loop."""
FAULTY = "faulty"


@dataclass
class _Replicas:
    """What the replicas here have together."""

    roles: Counter[str] = field(
        default_factory=lambda: Counter(dict.fromkeys([*map(str, Role), FAULTY], 0))
    )
    asleep: int = 0
    leaderless: int = 0
    under_replicated: int = 0
    unsettled: int = 0
    dead: int = 0
    lag_entries: dict[str, int] = field(default_factory=dict)
    """By broker of a follower: most entries that it lacks of a partition led here."""
    stored_messages: Counter[str] = field(default_factory=Counter)
    """By label of a topic."""
    stored_bytes: Counter[str] = field(default_factory=Counter)

    def add(self, broker: BrokerRuntime, replica: Replica) -> None:
        """Look at a replica."""
        self.roles[FAULTY if replica.faulty else str(replica.role)] += 1
        self.leaderless += not replica.hears_leader
        if replica.faulty:
            return
        self.asleep += replica.is_asleep
        if replica.is_leader:
            is_whole = True
            for broker_id, lag, follows in replica.followers():
                name = str(broker_id)
                self.lag_entries[name] = max(lag, self.lag_entries.get(name, 0))
                is_whole = is_whole and follows
            self.under_replicated += not is_whole
        if replica.serves:
            state = runtimes.state_of(replica)
            if state.works:
                out, waiting = state.works.counts()
                self.unsettled, self.dead = self.unsettled + out, self.dead + waiting
            label = broker.traffic.label_of(replica.spec.topic)
            self.stored_messages[label] += state.next_offset - state.log_start_offset
            self.stored_bytes[label] += state.size_bytes


async def broker_families() -> list[Metric]:
    """Return the metrics of this process's broker; none while no broker runs in it."""
    broker = runtimes.installed()
    if broker is None:
        return []
    found = _Replicas()
    for number, replica in enumerate(list(broker.engine.replicas.values()), start=1):
        found.add(broker, replica)
        if number % LOOKED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return [
        *_replicas(found),
        *_waiting(broker),
        *broker.traffic.collect(),
        *memory_families(PREFIX, broker.memory.shares),
        *_storage(broker.engine),
        *_time(broker),
        *_transport(broker.engine),
        counter_by(
            f"{PREFIX}_new_entries_refused",
            "New consumer groups, cursors and producers refused for the limit of their address",
            "table",
            {table.name.lower(): broker.client_origins.refused[table] for table in Table},
        ),
    ]


def _replicas(found: _Replicas) -> Iterator[Metric]:
    """Yield what the replicas are, have and lack."""
    yield gauge_by(f"{PREFIX}_replicas", "Replicas on this broker, by role", "role", found.roles)
    yield from gauges(
        PREFIX,
        ("replicas_asleep", "Replicas whose partition is idle and costs nothing", found.asleep),
        (
            "replicas_without_leader",
            "Replicas that hear no leader, faulty ones included",
            found.leaderless,
        ),
        (
            "under_replicated_partitions",
            "Partitions led here with a follower that does not take entries as they come",
            found.under_replicated,
        ),
        (
            "unsettled_messages",
            "Messages out with workers, of partitions led here",
            found.unsettled,
        ),
        ("dead_messages", "Dead messages not copied yet, of partitions led here", found.dead),
    )
    yield gauge_by(
        f"{PREFIX}_follower_lag_entries",
        "Most entries that a follower lacks of a partition led here, by its broker",
        "follower",
        found.lag_entries,
    )
    for name, text, values in (
        ("stored_messages", "Messages stored of partitions led here", found.stored_messages),
        ("stored_bytes", "Bytes of their batches", found.stored_bytes),
    ):
        yield gauge_by(f"{PREFIX}_{name}", text, "topic", values)


def _waiting(broker: BrokerRuntime) -> Iterator[Metric]:
    """Yield what waits, and what is kept for it."""
    polls = broker.long_polls.waiting + broker.work_waits.waiting
    yield from gauges(
        PREFIX,
        ("long_polls", "Open long polls", polls),
        ("parked_bytes", "Bytes of batches before their turn", broker.out_of_order.parked_bytes),
        ("decoded_bytes", "Bytes of batches kept decoded", broker.decode_cache.size_bytes),
        (
            "unwritten_groups",
            "Partitions with something to store that waits for the transaction under way",
            broker.engine.stream.waiting_groups,
        ),
    )


def _storage(engine: Engine) -> Iterator[Metric]:
    """Yield what the disk does, and what room it has."""
    yield histogram(
        f"{PREFIX}_transaction_seconds",
        "Time of transactions of the storage, syncs included",
        engine.stream.times,
    )
    yield histogram(
        f"{PREFIX}_commit_seconds",
        "Time of the commit of what adds to logs: one write and sync of the WAL",
        engine.commits,
    )
    yield from gauges(
        PREFIX,
        (
            "write_seconds_so_far",
            "How long the transaction under way has taken",
            engine.slow_disk.seconds_so_far,
        ),
        ("disk_free_bytes", "Free space where the data lies", engine.disk.free_bytes),
        (
            "disk_reserve_bytes",
            "Free space below which writes are refused",
            engine.disk.reserve_bytes,
        ),
        ("disk_full", "1 while writes are refused for want of space", engine.disk.full),
        (
            "disk_slow",
            "1 while leaderships stay away because the disk is slow",
            engine.slow_disk.is_slow,
        ),
    )
    yield from counters(
        PREFIX, ("scrub_passes", "Complete verifications of all replicas", engine.scrubber.passes)
    )


def _time(broker: BrokerRuntime) -> Iterator[Metric]:
    """Yield how evenly ticks come, who was elected, and when a manager was heard."""
    watchdog, elections = broker.engine.watchdog, broker.elections
    yield histogram(
        f"{PREFIX}_tick_interval_seconds",
        "Time between one tick and the next in the loop",
        watchdog.tick_intervals.times,
    )
    yield from counters(
        PREFIX,
        (
            "ticks_late",
            "Ticks that came more than two intervals after the one before",
            watchdog.tick_intervals.late,
        ),
        ("elections_won", "Terms in which a replica here became the leader", elections.won),
        ("terms", "New terms that replicas here took part in", elections.terms),
    )
    yield from gauges(
        PREFIX,
        (
            "intervals_without_tick",
            "Tick intervals since the last tick",
            watchdog.intervals_without_tick,
        ),
        ("epoch", "Highest epoch of a manager's lease that this broker has heard of", broker.epoch),
    )
    contact = broker.link.last_contact
    if contact is not None:
        age_s = asyncio.get_running_loop().time() - contact
        yield from gauges(
            PREFIX, ("report_age_seconds", "Time since a manager took a report", age_s)
        )


def _transport(engine: Engine) -> Iterator[Metric]:
    """Yield what went between this broker and its peers, and what did not."""
    sent = engine.transport_counters
    yield from counters(
        PREFIX,
        ("raft_frames_sent", "Frames sent to peers", sent.frames_sent),
        ("raft_frames_received", "Frames received from peers", sent.frames_received),
        ("raft_sent_bytes", "Bytes sent to peers", sent.bytes_sent),
        ("raft_received_bytes", "Bytes received from peers", sent.bytes_received),
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
        ("snapshots_sent", "Snapshots that peers installed", engine.snapshots_sent.sent),
        ("snapshots_received", "Snapshots installed here", engine.snapshots_received.received),
    )
    yield counter_by(
        f"{PREFIX}_raft_frames_dropped",
        "Frames not sent to peers, by kind",
        "kind",
        {"append": sent.dropped_appends, "control": sent.dropped_control},
    )
    yield counter_by(
        f"{PREFIX}_raft_connections_rejected",
        "Connections of peers that were refused or broken, by reason",
        "reason",
        sent.rejected_connections,
    )
