from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from manager_app.groups import coordinator
from manager_app.groups.coordinator import GroupCoordinator
from manager_app.metadata import ClusterMetadata, PartitionMetadata, StoredSettings, TopicMetadata
from manager_app.selectors import StoredConsumerGroup
from manager_app.services.restored import EPOCHS, VERSIONS
from myqueue.contract.errors import Overloaded, ReadOnlyManager, UnknownMember
from myqueue.contract.rules.group_membership import Subscription, flattened

PRIMARY = "http://m:1"
SUBSCRIPTION = Subscription(frozenset({"logs"}), 1_000)


@dataclass
class TwinLease:
    """Held as the test says."""

    epoch: int | None = 1

    def require(self):
        if self.epoch is None:
            raise ReadOnlyManager(primary=PRIMARY)
        return self.epoch


@dataclass
class World:
    """What a coordinator sees: a database in memory, metadata, time."""

    stored: dict[str, StoredConsumerGroup] = field(default_factory=dict)
    seconds: float = 0.0
    changes: list = field(default_factory=list)
    slow: asyncio.Event | None = None
    """What writes wait for."""
    current: ClusterMetadata = field(default_factory=ClusterMetadata)
    failure: Exception | None = None

    def require_database(self):
        """It is never known to be away."""

    def coordinator(self, lease=None):
        return GroupCoordinator(
            lease=lease or TwinLease(),
            database=self,
            metadata=self,
            generation_floor=self.floor,
            monotonic_s=lambda: self.seconds,
            now=lambda: datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds),
        )

    async def floor(self, group, topics):
        return 0

    def poll(self):
        """Find nothing new."""

    async def run(self, work, *args):
        await asyncio.sleep(0)
        if self.slow is not None:
            await self.slow.wait()
        return work(*args)

    def change(self, change):
        if self.failure is not None:
            raise self.failure
        known = self.stored.get(change.name, StoredConsumerGroup())
        self.changes.append(change)
        self.stored[change.name] = StoredConsumerGroup(
            known.revision + 1, change.apply(known.state), known.topics_used | change.topics
        )
        return self.stored[change.name]

    def topic(self, count):
        parts = tuple(PartitionMetadata(1 + index, index, "logs", (1,)) for index in range(count))
        settings = StoredSettings(3, None, None, timezone.now())
        topic = TopicMetadata("logs", count, parts, settings)
        self.current = ClusterMetadata(topics={"logs": topic})


@pytest.fixture
def world(monkeypatch):
    world = World()
    world.topic(2)
    monkeypatch.setattr(coordinator, "group_change", world.change)
    monkeypatch.setattr(coordinator.selectors, "groups_stored", lambda: dict(world.stored))
    return world


async def beat(groups, assignment, **fields):
    call = {
        "generation": assignment.generation,
        "owned": flattened(assignment.assignment),
        **fields,
    }
    return await groups.heartbeat(assignment.group, assignment.member_id, **call)


async def test_a_heartbeat_during_a_slow_change_keeps_its_member(world):
    groups = world.coordinator()
    first = await groups.join("g", SUBSCRIPTION)
    world.slow = asyncio.Event()
    joining = asyncio.ensure_future(groups.join("g", SUBSCRIPTION))
    await asyncio.sleep(0)
    world.seconds += 0.7
    await beat(groups, first)
    world.seconds += 0.7
    sweeping = asyncio.ensure_future(groups.sweep())
    await asyncio.sleep(0)
    world.slow.set()
    await joining
    assert await sweeping == []
    assert len(world.stored["g"].state.members) == 2


async def test_who_is_heard_while_the_sweep_waits_stays(world):
    groups = world.coordinator()
    first = await groups.join("g", SUBSCRIPTION)
    world.slow = asyncio.Event()
    joining = asyncio.ensure_future(groups.join("g", SUBSCRIPTION))
    world.seconds += 1.5
    sweeping = asyncio.ensure_future(groups.sweep())
    for _ in range(5):
        await asyncio.sleep(0)
    await beat(groups, first)
    world.slow.set()
    await joining
    assert await sweeping == []
    assert first.member_id in world.stored["g"].state.members


async def test_changes_of_one_group_follow_each_other(world):
    groups = world.coordinator()
    assignments = await asyncio.gather(*(groups.join("g", SUBSCRIPTION) for _ in range(20)))
    assert sorted(assignment.generation for assignment in assignments)[-1] == 20
    assert world.stored["g"].state.generation == 20
    assert len(world.changes) == 20


async def test_a_group_that_could_not_be_made_is_not_remembered(world):
    groups = world.coordinator()
    world.failure = Overloaded()
    with pytest.raises(Overloaded):
        await groups.join("g", SUBSCRIPTION)
    assert groups._groups.keys() == {"g"}
    await groups.sweep()
    assert groups._groups == {}


async def test_a_group_being_made_survives_a_sweep(world):
    groups = world.coordinator()
    await groups.sweep()
    world.slow = asyncio.Event()
    joining = asyncio.ensure_future(groups.join("g", SUBSCRIPTION))
    await asyncio.sleep(0)
    await groups.sweep()
    world.slow.set()
    assignment = await joining
    assert await beat(groups, assignment) == assignment


async def test_members_are_dead_after_three_quarters_of_their_own_sessions(world):
    groups = world.coordinator()
    quick = await groups.join("g", SUBSCRIPTION)
    slow = await groups.join("g", Subscription(frozenset({"logs"}), 2_000))
    gone = {}
    for _ in range(60):
        world.seconds += 0.05
        gone |= {member: world.seconds for _, member in await groups.sweep()}
    assert gone[quick.member_id] == pytest.approx(0.8, abs=0.051)
    assert gone[slow.member_id] == pytest.approx(1.55, abs=0.051)
    with pytest.raises(UnknownMember):
        await beat(groups, slow)


async def test_sweeps_without_news_look_at_nobody(world, monkeypatch):
    groups = world.coordinator()
    await groups.join("g", Subscription(frozenset({"logs"}), 60_000))
    await groups.sweep()
    monkeypatch.setattr(groups, "_sweep_one", None)
    world.seconds += 1
    await groups.sweep()


async def test_grown_topics_are_taken_over_by_the_sweep_and_by_heartbeats(world):
    groups = world.coordinator()
    assignment = await groups.join("g", SUBSCRIPTION)
    world.topic(3)
    await groups.sweep()
    assert world.stored["g"].state.generation == 2
    world.topic(4)
    assignment = await beat(groups, assignment)
    assert assignment.generation == 3
    assert assignment.assignment == {"logs": [0, 1, 2, 3]}


async def test_the_next_manager_finds_everything_in_the_database(world):
    assignment = await world.coordinator().join("g", SUBSCRIPTION)
    successor = world.coordinator()
    world.seconds += 100
    assert await successor.sweep() == []
    assert await beat(successor, assignment) == assignment


async def test_who_is_not_the_primary_refuses_and_expires_nobody(world):
    await world.coordinator().join("g", SUBSCRIPTION)
    other = world.coordinator(TwinLease(None))
    with pytest.raises(ReadOnlyManager) as raised:
        await other.join("g", SUBSCRIPTION)
    assert raised.value.details["primary"] == PRIMARY
    world.seconds += 100
    assert await other.sweep() == []
    assert world.stored["g"].state.members


async def test_a_primary_that_was_superseded_drops_what_it_remembers(world):
    groups = world.coordinator()
    assignment = await groups.join("g", SUBSCRIPTION)
    world.failure = ReadOnlyManager()
    for _ in range(3):
        world.seconds += 1
        assert await groups.sweep() == []
    assert assignment.member_id in world.stored["g"].state.members


async def test_a_primary_that_was_superseded_meanwhile_loads_everything_anew(world):
    lease = TwinLease()
    groups = world.coordinator(lease)
    assignment = await groups.join("g", SUBSCRIPTION)
    second = await world.coordinator(TwinLease(2)).join("g", SUBSCRIPTION)
    lease.epoch = 3
    # No sweep saw that it was another's.
    assert (await beat(groups, second)).generation == 2
    assert (await beat(groups, assignment)).generation == 2
    await groups.join("g", SUBSCRIPTION)
    assert [change.epoch for change in world.changes] == [1, 2, 3]


async def test_last_heartbeats_are_those_that_were_heard_here(world):
    groups = world.coordinator()
    assert groups.last_heartbeats("g") == {}
    assignment = await groups.join("g", SUBSCRIPTION)
    world.seconds += 0.5
    await beat(groups, assignment)
    heard = groups.last_heartbeats("g")[assignment.member_id]
    assert heard == datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


async def test_a_group_that_a_restored_database_lacks_begins_above_all_that_were_given(world):
    assert (await world.coordinator().join("g", SUBSCRIPTION)).generation == 1
    world.stored.clear()
    groups = world.coordinator(TwinLease(1 + EPOCHS))
    assert (await groups.join("g", SUBSCRIPTION)).generation == VERSIONS + 1
    assert (await groups.join("g", SUBSCRIPTION)).generation == VERSIONS + 2
    world.stored.clear()
    groups = world.coordinator(TwinLease(1 + 2 * EPOCHS))
    moving = groups.without_members("g", "logs", floor=7, force=False, also=lambda: None)
    async with moving as generation:
        assert generation == 2 * VERSIONS + 1
