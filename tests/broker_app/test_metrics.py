"""The figures of a broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker_app import metrics
from broker_app import runtime as runtimes
from broker_app.client_origins import Table
from broker_app.decode_cache import DecodedBatch
from broker_app.partition.commands import ReceiveMessages, SettleMessages
from myqueue.contract.rules.work import Receipt, SettleKind
from raft_app.engine.tick_intervals import TickIntervals
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


Shown = dict[tuple[str, str], float]


async def figures() -> Shown:
    """Return {(name without queue_broker_, values of the labels): value}."""
    return {
        (sample.name.removeprefix("queue_broker_"), " ".join(sample.labels.values())): sample.value
        for family in await metrics.broker_families()
        for sample in family.samples
    }


async def test_without_a_broker_there_are_no_figures() -> None:
    runtimes.install(None)
    assert await figures() == {}


async def test_replicas_are_counted_by_role_and_faulty_ones_apart(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    led, followed, faulty = (engine.add("logs", n, group_id=n + 1) for n in range(3))
    engine.add("logs", 4, group_id=5)
    followed.is_leader = followed.hears_leader = False
    faulty.faulty = "a bad row"
    led.is_asleep = faulty.is_asleep = True
    shown = await figures()
    assert shown["replicas_asleep", ""] == shown["replicas_without_leader", ""] == 1
    replicas = {
        role: value for (name, role), value in shown.items() if name == "replicas" and value
    }
    assert replicas == {"leader": 2, "follower": 1, "faulty": 1}
    assert shown["replicas", "learner"] == 0, "what may be is shown before it is"


async def test_a_partition_is_under_replicated_while_a_follower_does_not_follow(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    first, second = (engine.add("logs", n, group_id=n + 1) for n in range(2))
    first.lags = [(2, 4, True), (3, 0, True)]
    second.lags = [(2, 70, False), (3, 0, True)]
    shown = await figures()
    assert shown["under_replicated_partitions", ""] == 1
    assert (shown["follower_lag_entries", "2"], shown["follower_lag_entries", "3"]) == (70, 0)
    second.is_leader = False
    assert (await figures())["under_replicated_partitions", ""] == 0


async def test_what_is_stored_is_told_by_topic(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, batch_of("a", "b"), timeout_ms=1_000)
    await engine.propose(engine.add("logs", 1, group_id=8).group_id, batch_of("c"), timeout_ms=100)
    engine.add("mails", 0, group_id=9)
    shown = await figures()
    assert (shown["stored_messages", "logs"], shown["stored_messages", "mails"]) == (3, 0)
    assert shown["stored_bytes", "logs"] > 100


async def test_a_scrape_has_no_more_lines_for_more_partitions_and_topics(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    sizes = []
    for topics in (150, 300):
        for number in range(topics):
            topic = f"t{number}"
            for partition in range(2):
                engine.add(topic, partition, group_id=1 + 2 * number + partition)
            runtime.traffic[topic].messages_produced += 1
        sizes.append(len(await figures()))
    assert sizes[0] == sizes[1]


async def test_all_replicas_are_looked_at_while_others_have_their_turn(
    runtime: BrokerRuntime, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "LOOKED_AT_ONCE", 2)
    for number in range(5):
        engine.add("logs", number, group_id=number + 1)
    looking = asyncio.create_task(figures())
    await asyncio.sleep(0)
    engine.remove(5)  # one that goes meanwhile hurts nobody
    assert not looking.done()
    assert (await looking)["replicas", "leader"] == 5


async def test_what_was_refused_for_its_address_is_counted_by_table(runtime: BrokerRuntime) -> None:
    runtime.client_origins.refused[Table.CURSORS] = 3
    shown = await figures()
    assert [shown["new_entries_refused_total", one] for one in ("groups", "cursors")] == [0, 3]


def change_all(runtime: BrokerRuntime, engine: EngineTwin) -> None:
    """Let every figure be another one."""
    runtime.long_polls.waiting = 3
    runtime.out_of_order.parked_bytes = 70
    runtime.decode_cache.keep(7, DecodedBatch(0, [], 11))
    engine.watchdog.intervals_without_tick = 2
    runtime.work_waits.waiting = 1
    engine.slow_disk.seconds_so_far, engine.slow_disk.is_slow = 1.5, True
    engine.stream.times.add(0.25)
    engine.stream.waiting_groups = 9
    engine.commits.add(0.125)
    engine.disk.free_bytes, engine.disk.reserve_bytes, engine.disk.full = 100, 200, True
    sent = engine.transport_counters
    sent.frames_sent, sent.frames_received = 7, 8
    sent.bytes_sent, sent.bytes_received = 700, 800
    sent.dropped_appends, sent.dropped_control = 5, 6
    sent.rejected_connections["wrong secret"] = 2
    engine.guard.silences = 6
    engine.snapshots_sent.sent, engine.snapshots_received.received = 2, 3
    engine.incoming.unknown_groups, engine.scrubber.passes = 3, 4
    runtime.elections.won, runtime.elections.terms = 12, 13
    runtime.traffic.batch_messages.add(20)
    runtime.traffic.batch_bytes.add(2_000)
    runtime.link.last_contact = asyncio.get_running_loop().time() - 30
    times = iter([1.0, 1.05, 1.3])
    engine.watchdog.tick_intervals = intervals = TickIntervals(50, clock=lambda: next(times))
    for _ in range(3):
        intervals.ticked()


CHANGED = {
    "peer_silences_total": 6,
    "long_polls": 4,
    "parked_bytes": 70,
    "decoded_bytes": 11,
    "intervals_without_tick": 2,
    "write_seconds_so_far": 1.5,
    "disk_slow": 1,
    "disk_free_bytes": 100,
    "disk_reserve_bytes": 200,
    "disk_full": 1,
    "transaction_seconds_count": 1,
    "transaction_seconds_sum": 0.25,
    "commit_seconds_count": 1,
    "commit_seconds_sum": 0.125,
    "unwritten_groups": 9,
    "tick_interval_seconds_count": 2,
    "tick_interval_seconds_sum": pytest.approx(0.3),
    "ticks_late_total": 1,
    "elections_won_total": 12,
    "terms_total": 13,
    "batch_messages_count": 1,
    "batch_messages_sum": 20,
    "batch_bytes_count": 1,
    "batch_bytes_sum": 2_000,
    "raft_frames_sent_total": 7,
    "raft_frames_received_total": 8,
    "raft_sent_bytes_total": 700,
    "raft_received_bytes_total": 800,
    "raft_rpcs_unknown_total": 3,
    "scrub_passes_total": 4,
    "snapshots_sent_total": 2,
    "snapshots_received_total": 3,
    "raft_frames_dropped_total": 6,
    "raft_connections_rejected_total": 2,
}
"""What `change_all` leaves, but for what depends on the clock."""


async def test_figures_show_what_is_and_was_at_the_moment(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    engine.disk.free_bytes, engine.disk.reserve_bytes = 0, 0
    before = await figures()
    assert set(before.values()) - set(memory_limits(runtime)) == {0}
    change_all(runtime, engine)
    after = await figures()
    changed = {
        name: value
        for (name, label), value in after.items()
        if value != before.get((name, label)) and not name.startswith("memory")
        if not name.endswith("_bucket")
    }
    assert 30 <= changed.pop("report_age_seconds") < 60
    assert changed == CHANGED
    assert after["raft_frames_dropped_total", "append"] == 5


async def test_messages_of_workers_are_counted_where_the_partition_is_led(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, batch_of("a", "b", "c"), timeout_ms=1_000)
    receive = ReceiveMessages("g", (), 0, 3, visibility_ms=1_000, delivery_limit=1)
    received = await engine.propose(7, receive, timeout_ms=1_000)
    nack = SettleMessages("g", SettleKind.NACK, [Receipt(received.origin, 0, 1)])
    await engine.propose(7, nack, timeout_ms=1_000)
    shown = await figures()
    assert (shown["unsettled_messages", ""], shown["dead_messages", ""]) == (2, 1)
    replica.is_leader = False
    assert (await figures())["unsettled_messages", ""] == 0


def memory_limits(runtime: BrokerRuntime) -> set[float]:
    return {share.limit_bytes for share in runtime.memory.shares}


async def test_each_share_of_memory_shows_what_it_holds_may_hold_and_refused(
    runtime: BrokerRuntime,
) -> None:
    runtime.memory.bodies.move(7)
    assert not runtime.memory.tails.admits(1 << 40)
    runtime.decode_cache.keep(7, DecodedBatch(0, [], 11))
    shown = await figures()
    shares = {share for name, share in shown if name == "memory_bytes"}
    assert shares == {share.name for share in runtime.memory.shares}
    assert (shown["memory_bytes", "bodies"], shown["memory_bytes", "decoded"]) == (7, 11)
    limits = [shown["memory_limit_bytes", share] for share in ("tails", "bodies")]
    assert limits == [256 << 20, 128 << 20]
    refusals = [shown["memory_refusals_total", share] for share in ("tails", "bodies")]
    assert refusals == [1, 0]
