"""What an engine promises to services, asked of the twin in their tests and of a real engine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from broker_app.partition.limits import StateLimits
from broker_app.partition.statemachine import PartitionState
from myqueue.contract.errors import (
    CommitTimeout,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    QueueError,
)
from raft_app.core.types import Membership, RaftMember
from raft_app.engine.local_replicas import Event
from raft_app.storage.protocol import GroupSpec
from tests.broker_app.engine_twin import EngineTwin
from tests.broker_app.replica import batch_of
from tests.raft_app.engine.engine_harness import PACE_SECONDS, EngineCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GROUP = 1
STRANGE = 99
LONG_MS = 20_000
SHORT_MS = 50


class Place(Protocol):
    """An engine with the id 1 that leads a group, and what can be made of the others."""

    engine: Any

    def hold(self) -> None:
        """Let nothing be committed."""

    async def release(self) -> None:
        """Let everything be committed."""

    async def lose(self) -> None:
        """Let another broker lead; what was not committed never happens."""

    async def win(self) -> None:
        """Let this one lead again."""


class Twin:
    """The twin."""

    def __init__(self) -> None:
        self.engine = EngineTwin()
        self._replica = self.engine.add(group_id=GROUP)

    def hold(self) -> None:
        self.engine.holding = True

    async def release(self) -> None:
        self.engine.release()

    async def lose(self) -> None:
        self.engine.lose(self._replica, kept=self._replica.applied.index)
        self.engine.holding = False

    async def win(self) -> None:
        self.engine.win(self._replica)


class Real:
    """A real engine with two others, over storage and transport in memory."""

    def __init__(self, cluster: EngineCluster) -> None:
        self.cluster = cluster
        self.engine = cluster.engines[1]
        self.time_passes = asyncio.Event()
        self.time_passes.set()

    def hold(self) -> None:
        """Stand still, too: otherwise another would lead in a few ticks."""
        self.time_passes.clear()
        for other in (2, 3):
            self.cluster.hub.cut(1, other, silently=True)

    async def release(self) -> None:
        self.cluster.hub.heal()
        self.time_passes.set()
        await self._until(lambda: self.engine.replicas[GROUP].serves)

    async def lose(self) -> None:
        self.cluster.hub.isolate(1)
        self.time_passes.set()
        await self._until(lambda: any(self._serves(one) for one in (2, 3)))
        self.cluster.hub.heal()
        await self._until(lambda: self.engine.replicas[GROUP].leader_broker_id in (2, 3))

    async def win(self) -> None:
        leader = self.cluster.the_leader(GROUP)
        await leader.transfer_leadership(GROUP, 1, timeout_ms=LONG_MS)
        await self._until(lambda: self.engine.replicas[GROUP].serves)

    def _serves(self, broker_id: int) -> bool:
        return self.cluster.engines[broker_id].replicas[GROUP].serves

    async def _until(self, holds: Any) -> None:
        async with asyncio.timeout(LONG_MS / 1000):
            while not holds():
                await asyncio.sleep(PACE_SECONDS)


@asynccontextmanager
async def real(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Real]:
    factory = partial(PartitionState, limits=StateLimits())
    monkeypatch.setattr("tests.raft_app.engine.engine_harness.ListMachine", factory)
    cluster = EngineCluster()
    await cluster.start_all()
    await cluster.create_group(GROUP)

    made = Real(cluster)

    async def tick() -> None:
        while await made.time_passes.wait():
            await cluster.ticks(1)

    ticking = asyncio.ensure_future(tick())
    try:
        yield made
    finally:
        ticking.cancel()
        await asyncio.wait((ticking,))
        await cluster.stop_all()


@pytest.fixture(params=["twin", "real"])
async def place(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Place]:
    if request.param == "twin":
        yield Twin()
        return
    async with real(monkeypatch) as made:
        yield made


async def append(place: Place, *values: str, timeout_ms: int = LONG_MS, **marks: Any) -> int:
    """Append values and return the offset of the first."""
    appended = await place.engine.propose(GROUP, batch_of(*values, **marks), timeout_ms=timeout_ms)
    return int(appended.base_offset)


async def test_a_proposal_is_answered_when_it_is_applied(place: Place) -> None:
    applied = []
    place.engine.on_applied.append(lambda replica: applied.append(replica.group_id))
    assert [await append(place, "a", "b"), await append(place, "c")] == [0, 2]
    replica = place.engine.replica(GROUP)
    assert replica.state_machine.next_offset == 3
    assert replica.applied.index == replica.node.commit_index == replica.node.last_index
    assert set(applied) == {GROUP}


async def test_a_repetition_is_one_proposal_under_way_or_done(place: Place) -> None:
    marks = {"producer_id": 3, "sequence": 0}
    both = await asyncio.gather(append(place, "a", **marks), append(place, "a", **marks))
    assert both == [0, 0]
    before = place.engine.replica(GROUP).node.last_index
    assert await append(place, "a", **marks) == 0
    assert place.engine.replica(GROUP).node.last_index == before


async def test_without_a_quorum_in_time_the_outcome_is_unknown_and_may_come(place: Place) -> None:
    place.hold()
    with pytest.raises(CommitTimeout) as caught:
        await append(place, "late", timeout_ms=SHORT_MS)
    assert not caught.value.outcome_known
    assert place.engine.replica(GROUP).state_machine.next_offset == 0
    await place.release()
    assert await append(place, "next") == 1


async def test_a_barrier_passes_where_it_leads(place: Place) -> None:
    await append(place, "a")
    await place.engine.read_barrier(GROUP, timeout_ms=LONG_MS)
    await place.lose()
    with pytest.raises(NotLeader):
        await place.engine.read_barrier(GROUP, timeout_ms=LONG_MS)


async def test_a_strange_group_is_not_found(place: Place) -> None:
    engine = place.engine
    with pytest.raises(PartitionNotFound):
        engine.replica(STRANGE)
    with pytest.raises(PartitionNotFound):
        await engine.propose(STRANGE, batch_of("a"), timeout_ms=LONG_MS)
    with pytest.raises(PartitionNotFound):
        await engine.read_barrier(STRANGE, timeout_ms=LONG_MS)
    with pytest.raises(PartitionNotFound):
        engine.change_replicas(STRANGE, (RaftMember(11, 1),), 2)
    with pytest.raises(PartitionNotFound):
        await engine.transfer_leadership(STRANGE, 2, timeout_ms=LONG_MS)
    assert engine.find_change(STRANGE) is None
    await engine.delete_replica(STRANGE)


async def test_batches_are_read_from_the_one_with_the_offset(place: Place) -> None:
    for values in (("a", "b"), ("c",), ("d", "e")):
        await append(place, *values)
    read = partial(place.engine.read_batches, GROUP)
    found = await read(1, 5, 1 << 20)
    assert [(one.base_offset, one.record_count) for one in found] == [(0, 2), (2, 1), (3, 2)]
    assert [one.base_offset for one in await read(2, 3, 1 << 20)] == [2]
    assert [one.base_offset for one in await read(2, 5, 1)] == [2]
    assert await read(5, 5, 1 << 20) == []


async def test_who_lost_says_who_leads_and_what_was_under_way_never_happened(
    place: Place,
) -> None:
    led = []
    place.engine.on_leadership.append(lambda replica: led.append(replica.serves))
    await append(place, "kept")
    place.hold()
    under_way = asyncio.ensure_future(append(place, "lost"))
    await asyncio.wait((under_way,), timeout=SHORT_MS / 1000)
    await place.lose()
    with pytest.raises(QueueError) as overwritten:
        await under_way
    with pytest.raises(NotLeader) as refused:
        await append(place, "refused")
    for caught in (overwritten, refused):
        assert isinstance(caught.value, NotLeader)
        assert caught.value.retriable
        assert caught.value.details["leader"]["broker_id"] in (2, 3)
    replica = place.engine.replica(GROUP)
    assert (replica.serves, replica.node.is_leader) == (False, False)
    assert led[-1] is False
    term = replica.node.term
    await place.win()
    assert replica.node.term > term
    assert replica.serves
    assert led[-1] is True
    assert await append(place, "after") == 1


async def test_a_replica_that_joins_waits_for_a_leader(place: Place) -> None:
    engine = place.engine
    moved = engine.replicas.watch(Event.MOVED)
    moved.clear()
    spec = GroupSpec(2, 21, "other", 0)
    await engine.join_replica(spec)
    replica = engine.replica(2)
    assert moved == {2: replica}
    assert (replica.spec, replica.serves, replica.applied.membership) == (
        spec,
        False,
        Membership(),
    )
    with pytest.raises(NoLeader):
        await engine.propose(2, batch_of("a"), timeout_ms=LONG_MS)


async def test_a_replica_is_made_once_and_dropped_once(place: Place) -> None:
    engine = place.engine
    spec, membership = GroupSpec(2, 21, "other", 0), Membership((RaftMember(21, 1),), version=1)
    await engine.create_replica(spec, membership, campaign=True)
    made = engine.replica(2)
    await engine.create_replica(spec, membership, campaign=True)
    assert engine.replica(2) is made
    assert made.applied.membership.voters == membership.voters
    moved = engine.replicas.watch(Event.MOVED)
    moved.clear()
    await engine.delete_replica(2)
    assert moved == {2: made}
    moved.clear()
    await engine.delete_replica(2)
    assert not moved
    with pytest.raises(PartitionNotFound):
        engine.replica(2)


async def test_a_change_of_replicas_is_begun_at_once_and_found(place: Place) -> None:
    engine = place.engine
    assert engine.find_change(GROUP) is None
    target = place.engine.replica(GROUP).applied.membership.voters
    change = engine.change_replicas(GROUP, target, 2)
    assert (set(change.target), change.version) == (set(target), 2)
    assert engine.find_change(GROUP) is change
    await place.lose()
    with pytest.raises(NotLeader):
        engine.change_replicas(GROUP, target, 3)


async def test_what_is_posted_runs_in_the_loop(place: Place) -> None:
    ran = asyncio.Event()
    place.engine.post(ran.set)
    async with asyncio.timeout(LONG_MS / 1000):
        await ran.wait()
