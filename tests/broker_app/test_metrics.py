"""The figures of a broker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

import manager_app.metrics  # noqa: F401 - the figures of a manager are on the page, too
import queuesite.connections  # noqa: F401 - and those of connections
import queuesite.login  # noqa: F401 - and those of log-ins
from broker_app import metrics
from broker_app import runtime as runtimes
from broker_app.client_origins import Table
from broker_app.decode_cache import DecodedBatch
from broker_app.partition.commands import ReceiveMessages, SettleMessages
from http_base.memory_budget import MemoryBudget
from http_base.memory_metrics import show_memory
from myqueue.contract.rules.work import Receipt, SettleKind
from raft_app.engine.tick_intervals import TickIntervals
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


def figures() -> dict[tuple[str, str], float]:
    """Return {(name, role): value} of a registry of its own."""
    registry = CollectorRegistry()
    metrics.register(registry)
    metrics.register(registry)
    return {
        (sample.name.removeprefix("queue_broker_"), sample.labels.get("role", "")): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not {"share", "le", "kind", "reason", "table"} & sample.labels.keys()
    }


def memory_figures() -> dict[tuple[str, str], float]:
    """Return {(name, share): value} of the shares of memory."""
    registry = CollectorRegistry()
    metrics.register(registry)
    return {
        (sample.name.removeprefix("queue_broker_memory_"), sample.labels["share"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if "share" in sample.labels
    }


NAMES = (
    *("replicas_asleep", "long_polls", "unsettled_messages", "dead_messages"),
    *("parked_bytes", "decoded_bytes", "intervals_without_tick"),
    *("write_seconds_so_far", "transactions_total", "transaction_seconds_total"),
    *("raft_frames_sent_total", "raft_frames_received_total", "raft_sent_bytes_total"),
    *("raft_received_bytes_total", "raft_rpcs_unknown_total", "scrub_passes_total"),
    "peer_silences_total",
    *("tick_interval_seconds_count", "tick_interval_seconds_sum", "ticks_late_total"),
)


def test_without_a_broker_there_are_no_gauges() -> None:
    runtimes.install(None)
    assert figures() == {}


def test_replicas_are_counted_by_role_and_faulty_ones_apart(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    led, followed, faulty = (engine.add("logs", n, group_id=n + 1) for n in range(3))
    engine.add("logs", 4, group_id=5)
    followed.is_leader = False
    faulty.faulty = "a bad row"
    led.is_asleep = faulty.is_asleep = True
    assert figures()["replicas_asleep", ""] == 1
    replicas = {role: value for (name, role), value in figures().items() if name == "replicas"}
    assert replicas == {"leader": 2, "follower": 1, "faulty": 1}
    assert led.role == "leader"


def test_what_was_refused_for_its_address_is_counted_by_table(runtime: BrokerRuntime) -> None:
    runtime.client_origins.refused[Table.CURSORS] = 3
    registry = CollectorRegistry()
    metrics.register(registry)
    name = "queue_broker_new_entries_refused_total"
    found = [registry.get_sample_value(name, {"table": one}) for one in ("groups", "cursors")]
    assert found == [0, 3]


def test_gauges_show_what_is_held_at_the_moment(runtime: BrokerRuntime, engine: EngineTwin) -> None:
    assert figures() == {(name, ""): 0 for name in NAMES}
    runtime.long_polls.waiting = 3
    runtime.out_of_order.parked_bytes = 70
    runtime.decode_cache.keep(7, DecodedBatch(0, [], 11))
    engine.watchdog.intervals_without_tick = 2
    runtime.work_waits.waiting = 1
    engine.slow_disk.seconds_so_far = 1.5
    engine.stream.transactions, engine.stream.seconds = 5, 0.25
    sent = engine.transport_counters
    sent.frames_sent, sent.frames_received = 7, 8
    sent.bytes_sent, sent.bytes_received = 700, 800
    engine.guard.silences = 6
    engine.incoming.unknown_groups, engine.scrubber.passes = 3, 4
    times = iter([1.0, 1.05, 1.3])
    engine.watchdog.tick_intervals = intervals = TickIntervals(50, clock=lambda: next(times))
    for _ in range(3):
        intervals.ticked()
    assert figures() == {
        ("replicas_asleep", ""): 0,
        ("peer_silences_total", ""): 6,
        ("unsettled_messages", ""): 0,
        ("dead_messages", ""): 0,
        ("long_polls", ""): 4,
        ("parked_bytes", ""): 70,
        ("decoded_bytes", ""): 11,
        ("intervals_without_tick", ""): 2,
        ("write_seconds_so_far", ""): 1.5,
        ("transactions_total", ""): 5,
        ("transaction_seconds_total", ""): 0.25,
        ("tick_interval_seconds_count", ""): 2,
        ("tick_interval_seconds_sum", ""): pytest.approx(0.3),
        ("ticks_late_total", ""): 1,
        ("raft_frames_sent_total", ""): 7,
        ("raft_frames_received_total", ""): 8,
        ("raft_sent_bytes_total", ""): 700,
        ("raft_received_bytes_total", ""): 800,
        ("raft_rpcs_unknown_total", ""): 3,
        ("scrub_passes_total", ""): 4,
    }


def test_what_was_not_sent_and_who_was_refused_is_told_apart(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    engine.transport_counters.dropped_appends = 5
    engine.transport_counters.dropped_control = 6
    engine.transport_counters.rejected_connections["wrong secret"] = 2
    registry = CollectorRegistry()
    metrics.register(registry)
    found = {
        (sample.name.removeprefix("queue_broker_raft_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if {"kind", "reason"} & sample.labels.keys()
    }
    assert found == {
        ("frames_dropped_total", "append"): 5,
        ("frames_dropped_total", "control"): 6,
        ("connections_rejected_total", "wrong secret"): 2,
    }


def test_the_reference_names_every_figure(runtime: BrokerRuntime) -> None:
    registry = CollectorRegistry()
    metrics.register(registry)
    show_memory("queue_manager", (MemoryBudget().bodies,), registry)
    families = [*registry.collect(), *REGISTRY.collect()]
    shown = {
        family.name + "_total" * (family.type == "counter")
        for family in families
        if family.name.startswith(("queue_broker_", "queue_http_", "queue_manager_"))
    }
    assert "queue_manager_brokers" in shown
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == shown


async def test_messages_of_workers_are_counted_where_the_partition_is_led(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, batch_of("a", "b", "c"), timeout_ms=1_000)
    receive = ReceiveMessages("g", (), 0, 3, visibility_ms=1_000, delivery_limit=1)
    received = await engine.propose(7, receive, timeout_ms=1_000)
    nack = SettleMessages("g", SettleKind.NACK, [Receipt(received.origin, 0, 1)])
    await engine.propose(7, nack, timeout_ms=1_000)
    shown = figures()
    assert (shown["unsettled_messages", ""], shown["dead_messages", ""]) == (2, 1)
    replica.is_leader = False
    assert figures()["unsettled_messages", ""] == 0


def test_gauges_are_those_of_the_broker_that_runs_now(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    registry = CollectorRegistry()
    metrics.register(registry)
    assert registry.get_sample_value("queue_broker_long_polls") == 0
    runtimes.install(None)
    assert registry.get_sample_value("queue_broker_long_polls") is None


def test_each_share_of_memory_shows_what_it_holds_may_hold_and_refused(
    runtime: BrokerRuntime,
) -> None:
    runtime.memory.bodies.move(7)
    assert not runtime.memory.tails.admits(1 << 40)
    runtime.decode_cache.keep(7, DecodedBatch(0, [], 11))
    shown = memory_figures()
    assert {share for _, share in shown} == {share.name for share in runtime.memory.shares}
    assert (shown["bytes", "bodies"], shown["bytes", "decoded"]) == (7, 11)
    assert shown["limit_bytes", "tails"] == 2 * shown["limit_bytes", "bodies"] == 256 << 20
    assert (shown["refusals_total", "tails"], shown["refusals_total", "bodies"]) == (1, 0)
