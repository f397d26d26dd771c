"""The loop of an engine: what it does when a turn breaks off; `Engine` is tested for the rest."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from http_base.memory_budget import MemoryBudget
from raft_app.core.bootstrap import bootstrap_state
from raft_app.core.config import RaftConfig
from raft_app.core.rawnode import RawNode
from raft_app.core.types import AppendEntries, Entry, EntryKind, Membership, RaftMember
from raft_app.engine.cache import TailCache
from raft_app.engine.local_replicas import LocalReplicas
from raft_app.engine.loop import APPLIED_MAX, EngineLoop
from raft_app.engine.replica import Replica as RealReplica
from raft_app.storage.protocol import Checkpoint, GroupSpec, SetFaulty
from raft_app.storage.stream import StorageStream
from tests.raft_app.engine.engine_harness import ListMachine


class Replica:
    """Drains as the test says."""

    is_asleep = is_ticked = serves = serving_seen = spares_due = False
    faulty = ""

    def __init__(self, group_id: int, drained: list[int]) -> None:
        self.group_id = group_id
        self.node = self
        self.drained = drained
        self.error: Exception | None = None

    def drain(self, effects) -> None:
        if self.error is not None:
            raise self.error
        self.drained.append(self.group_id)


class Silent:
    """Takes everything and does nothing."""

    def flush(self) -> None:
        pass

    stop = flush


def make(replicas, failures):
    return EngineLoop(
        replicas=replicas,
        transport=None,
        stream=Silent(),
        tails=None,
        older=Silent(),
        on_failure=failures.append,
    )


async def test_group_marked_twice_is_drained_once():
    drained: list[int] = []
    replica = Replica(1, drained)
    engine_loop = make(LocalReplicas([replica]), [])
    engine_loop.mark(replica)
    engine_loop.mark(replica)
    engine_loop.run()
    assert drained == [1]


async def test_group_that_is_gone_is_passed_over():
    drained: list[int] = []
    engine_loop = make(LocalReplicas(), [])
    engine_loop.mark(Replica(1, drained))
    engine_loop.run()
    assert drained == []


async def test_broken_turn_fails_the_broker():
    failures: list[BaseException] = []
    replica = Replica(1, [])
    replica.error = AssertionError("our own bug")
    engine_loop = make(LocalReplicas([replica]), failures)
    engine_loop.mark(replica)
    with pytest.raises(AssertionError):
        engine_loop.run()
    assert failures == [replica.error]


async def test_stopped_runner_runs_no_turn():
    drained: list[int] = []
    replica = Replica(1, drained)
    engine_loop = make(LocalReplicas([replica]), [])
    engine_loop.mark(replica)
    engine_loop.stop()
    engine_loop.run()
    assert drained == []


async def test_what_is_found_of_a_replica_that_is_gone_harms_nobody():
    class SoundReplica(Replica):
        def become_faulty(self, reason) -> None:
            self.faulty = reason

        def fault(self) -> SetFaulty:
            return SetFaulty(self.group_id, self.faulty)

    class Stored(Silent):
        def __init__(self) -> None:
            self.operations: list[object] = []

        def submit(self, group_id, operation, on_durable) -> None:
            self.operations.append(operation)

    gone, successor = SoundReplica(1, []), SoundReplica(1, [])
    replicas = LocalReplicas([gone])
    engine_loop = make(replicas, [])
    engine_loop._stream = stored = Stored()
    engine_loop.make_faulty(gone, "a bad row")
    replicas.add(successor)
    engine_loop.make_faulty(gone, "another bad row")
    engine_loop.run()
    assert stored.operations == []
    engine_loop.make_faulty(successor, "a bad row")
    engine_loop.run()
    assert stored.operations == [SetFaulty(1, "a bad row")]


class FollowerLoop:
    """The loop of a follower whose disk and network the test is; `happened` tells what it did."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        membership = Membership(voters=(RaftMember(1, 10), RaftMember(2, 20)), version=1)
        node = RawNode(
            RaftConfig(), bootstrap_state(1, membership), randomizer=lambda low, high: low
        )
        self.machine = ListMachine(GroupSpec(7, 1, "logs", 0), b"")
        apply = self.machine.apply
        self.machine.apply = lambda entry: (self.happened.append("applied"), apply(entry))[1]
        memory = MemoryBudget()
        self.replica = RealReplica(
            self.machine.spec,
            node,
            self.machine,
            Checkpoint(0, 0, membership, 0, b""),
            memory=memory,
        )
        self.stream = StorageStream(self, on_failure=pytest.fail, unwritten=memory.unwritten)
        self.loop = EngineLoop(
            replicas=LocalReplicas([self.replica]),
            transport=self,
            stream=self.stream,
            tails=TailCache(replica_bytes=1_000, total_bytes=1_000, share=memory.tails),
            older=None,
            on_failure=pytest.fail,
        )

    def write(self, operations) -> None:
        self.happened.append("storing")

    def send(self, broker_id, rpcs) -> None:
        self.happened.append("acknowledged")

    def entry_comes(self, index: int) -> None:
        """Take in an entry, and that the one before it is committed."""
        term = 2 if index > 1 else 1
        entry = Entry(index + 1, 2, EntryKind.COMMAND, b"text %d" % index)
        self.replica.step(20, AppendEntries(1, 2, 2, index, term, (entry,), index))
        self.loop.mark(self.replica)
        self.loop.run()

    async def entries_come(self, count: int) -> None:
        """Take in as many entries at once, the first included, all of them committed."""
        entries = tuple(Entry(i + 1, 2, EntryKind.COMMAND, b"text %d" % i) for i in range(1, count))
        self.replica.step(20, AppendEntries(1, 2, 2, 1, 1, entries, count))
        self.loop.mark(self.replica)
        await asyncio.sleep(0)

    def stored(self) -> None:
        self.stream._done(0.0)


async def test_an_acknowledgement_leaves_before_its_node_is_asked_for_more():
    follower = FollowerLoop()
    has_news = follower.replica.has_news
    follower.replica.has_news = lambda: (follower.happened.append("asked"), has_news())[1]
    follower.entry_comes(1)
    follower.stored()
    assert follower.happened[:3] == ["storing", "acknowledged", "asked"]


async def test_a_follower_acknowledges_before_it_applies_what_came_before():
    follower = FollowerLoop()
    follower.entry_comes(1)
    follower.stored()
    follower.happened.clear()
    follower.entry_comes(2)
    assert follower.happened == ["storing"]
    follower.stored()
    assert follower.happened == ["storing", "acknowledged", "applied"]
    assert follower.machine.values == ["text 1"]


async def test_what_waits_to_be_applied_waits_no_longer_than_until_the_next_turn():
    follower = FollowerLoop()
    follower.entry_comes(1)
    follower.stored()
    follower.entry_comes(2)
    follower.entry_comes(3)
    assert follower.machine.values == ["text 1"]


async def test_a_snapshot_takes_the_place_of_what_waits_to_be_applied():
    follower = FollowerLoop()
    follower.entry_comes(1)
    follower.stored()
    follower.entry_comes(2)
    follower.loop.note_replaced(follower.replica)
    follower.stored()
    assert follower.machine.values == []


async def test_no_turn_applies_more_than_others_in_the_loop_can_wait_for():
    follower = FollowerLoop()
    count = 3 * APPLIED_MAX + 7
    await follower.entries_come(count)
    follower.stored()
    applied = [len(follower.machine.values)]
    for _ in range(5):
        await asyncio.sleep(0)  # one turn of asyncio's loop
        applied.append(len(follower.machine.values))
    assert applied[0] == APPLIED_MAX - 1  # the first entry is the membership
    assert all(after - before <= APPLIED_MAX for before, after in pairwise(applied))
    assert follower.machine.values == [f"text {index}" for index in range(1, count)]
    assert follower.replica.applied.index == count


async def test_what_comes_later_is_applied_behind_what_is_left_over():
    follower = FollowerLoop()
    await follower.entries_come(APPLIED_MAX + 7)
    follower.stored()
    follower.entry_comes(APPLIED_MAX + 7)
    follower.stored()
    follower.entry_comes(APPLIED_MAX + 8)
    follower.stored()
    assert follower.machine.values == [f"text {index}" for index in range(1, APPLIED_MAX + 8)]
