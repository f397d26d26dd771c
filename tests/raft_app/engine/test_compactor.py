"""Logs that move up behind their checkpoints, and messages that go."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from raft_app.core.progress import ProgressState
from raft_app.engine.compactor import plan_compact
from raft_app.engine.config import EngineConfig
from raft_app.engine.replica import CheckpointMark, LogStart, Pin
from raft_app.size_marks import SizeMarks
from raft_app.storage.protocol import Compact
from tests.doubles.storage import MemoryStorage
from tests.raft_app.engine.engine_harness import EngineCluster
from tests.raft_app.engine.snapshot_harness import compacted, fill

CONFIG = EngineConfig(log_tail_entries=10, log_keep_bytes=10_000)


def replica_with(*, index: int = 100, log_start: int = 0, first_index: int = 1, **facts):
    """Return a follower whose newest durable checkpoint is at `index`."""
    sizes = SizeMarks(0)
    for end in range(1, index + 1):
        sizes.add(end, 1_024)
    peers = facts.pop("peers", {})
    leads = facts.get("is_leader", False)
    node = SimpleNamespace(
        first_index=first_index,
        last_index=index,
        is_installing=facts.pop("is_installing", False),
        is_leader=leads,
        term_at=lambda index: 3,
        status=lambda: SimpleNamespace(progress=peers),
    )
    return SimpleNamespace(
        **{
            "group_id": 7,
            "faulty": "",
            "is_leader": leads,
            "serves": leads,
            "node": node,
            "applied": SimpleNamespace(durable=CheckpointMark(index, log_start), sizes=sizes),
            "log_start": LogStart(told=0),
            "pins": {},
            **facts,
        }
    )


def peer(match: int, *, is_heard: bool = True, state=ProgressState.REPLICATE):
    return SimpleNamespace(match=match, is_heard=is_heard, state=state)


def first_index_of(replica) -> int | None:
    plan = plan_compact(replica, CONFIG, now=0.0)
    return plan.operation.first_index if plan else None


def test_a_log_keeps_a_tail_behind_its_checkpoint():
    plan = plan_compact(replica_with(), CONFIG, now=0.0)
    assert plan.operation == Compact(7, 91, 3, 0)
    assert not plan.cuts_all


def test_few_entries_are_not_worth_it():
    assert first_index_of(replica_with(first_index=82)) is None
    assert first_index_of(replica_with(first_index=81)) == 91


def test_messages_that_may_go_leave_no_tail():
    replica = replica_with(log_start=40)
    plan = plan_compact(replica, CONFIG, now=0.0)
    assert plan.operation == Compact(7, 101, 3, 40)
    assert plan.cuts_all
    replica.log_start.told = replica.log_start.cut = 40
    assert first_index_of(replica) == 91


def test_a_checkpoint_that_is_not_durable_lets_nothing_go():
    applied = SimpleNamespace(
        durable=CheckpointMark(0, 0), handed_over=CheckpointMark(100, 40), sizes=SizeMarks(0)
    )
    assert plan_compact(replica_with(applied=applied), CONFIG, now=0.0) is None
    applied.durable = applied.handed_over
    plan = plan_compact(replica_with(applied=applied), CONFIG, now=0.0)
    assert (plan.operation.first_index, plan.operation.log_start_offset) == (101, 40)


def test_a_leader_keeps_what_followers_miss_that_it_hears_up_to_a_limit():
    def leader(**peers):
        return replica_with(is_leader=True, peers=peers)

    heard = replica_with(is_leader=True, peers={2: peer(95)}, log_start=1)
    assert first_index_of(heard) == 96
    assert first_index_of(leader(a=peer(95), b=peer(93, is_heard=False))) == 91
    far = first_index_of(replica_with(is_leader=True, peers={2: peer(3)}, log_start=1))
    assert far is not None
    assert 86 <= far <= 91, "about 10,000 bytes"
    snapshot = peer(3, state=ProgressState.SNAPSHOT)
    assert first_index_of(leader(a=snapshot)) == 91


def test_a_pin_keeps_rows_until_its_time_is_over():
    replica = replica_with(
        log_start=40, is_leader=True, peers={5: peer(20, state=ProgressState.SNAPSHOT)}
    )
    replica.pins[5] = Pin(first_index=30, log_start_offset=20, until=9.0)
    plan = plan_compact(replica, CONFIG, now=1.0)
    assert plan.operation == Compact(7, 30, 3, 20)
    assert not plan.cuts_all
    assert plan_compact(replica, CONFIG, now=9.0).operation == Compact(7, 101, 3, 40)
    assert replica.pins == {}


def test_a_pin_holds_until_the_receiver_has_caught_up_or_is_no_member():
    def pinned(**peers):
        replica = replica_with(log_start=40, is_leader=True, peers=peers)
        replica.pins["a"] = Pin(first_index=30, log_start_offset=20, until=9.0)
        plan_compact(replica, CONFIG, now=1.0)
        return bool(replica.pins)

    assert pinned(a=peer(29, state=ProgressState.PROBE))
    assert pinned(a=peer(89))
    assert not pinned(a=peer(90))
    assert not pinned(b=peer(10))
    follower = replica_with(log_start=40)
    follower.pins[5] = Pin(first_index=30, log_start_offset=20, until=9.0)
    assert plan_compact(follower, CONFIG, now=1.0).operation.first_index == 101


@pytest.mark.parametrize(
    "facts", [{"faulty": "damaged"}, {"is_installing": True}, {"is_leader": True, "serves": False}]
)
def test_who_is_not_sound_or_not_ready_deletes_nothing(facts):
    assert first_index_of(replica_with(**facts)) is None


def test_the_first_compaction_after_a_start_finishes_an_interrupted_one():
    replica = replica_with(first_index=91)
    assert first_index_of(replica) is None
    replica.log_start = LogStart()
    assert first_index_of(replica) == 91


@pytest.mark.asyncio
async def test_messages_let_go_are_deleted_on_every_replica(short_logs):
    cluster = short_logs
    await fill(cluster, 40)
    await cluster.append("cut 30", kind="add")
    leader = cluster.the_leader().broker_id

    def is_deleted(broker_id: int) -> bool:
        engine = cluster.engines[broker_id]
        engine.request_checkpoints()
        return engine.replicas[1].log_start.cut == 30

    await cluster.until(lambda: all(is_deleted(one) for one in (1, 2, 3)))
    for broker_id in (1, 2, 3):
        storage = cluster.storages[broker_id]
        read = cluster.engines[broker_id]._context.read
        assert await read(storage.read_batches, 1, 10, 40, 1 << 20) == []
        rows = await read(storage.read_rows, 1, 30, 40, 1 << 20)
        assert [row.base_offset for row in rows] == list(range(30, 40))
    await cluster.stop(leader)
    await cluster.start(leader)
    await cluster.until(lambda: cluster.leader() is not None)
    assert await cluster.append("after") == 41


@pytest.mark.asyncio
async def test_follower_that_lags_a_little_needs_no_snapshot(short_log_twins):
    cluster = short_log_twins
    await fill(cluster, 30)
    await cluster.until(lambda: len(cluster.values(3)) == 30)
    cluster.hub.isolate(3, silently=True)
    await fill(cluster, 4, start=30)
    await compacted(cluster, 1, 2)
    cluster.hub.heal()
    await cluster.until(lambda: len(cluster.values(3)) == 34)
    assert cluster.engines[3].snapshots_received.received == 0


async def test_an_orderly_stop_does_not_wait_for_space_to_be_given_back():
    class Endless(MemoryStorage):
        def release_left(self) -> bool:
            return True

    cluster = EngineCluster(1, make_storage=lambda _: Endless())
    engine = await cluster.start(1)
    engine.compactor.release()
    await cluster.until(lambda: engine.stream.transactions > 2)
    async with asyncio.timeout(20):
        await cluster.stop(1)
