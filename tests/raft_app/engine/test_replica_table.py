"""Making, opening and dropping table, with a storage stream that is durable at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from http_base.memory_budget import MemoryBudget
from myqueue.contract.errors import StalePlacement
from raft_app.core.bootstrap import bootstrap_state
from raft_app.core.types import Membership, RaftMember
from raft_app.engine.config import EngineConfig
from raft_app.engine.local_replicas import Event, LocalReplicas
from raft_app.engine.replica import Replica
from raft_app.engine.replica_table import ReplicaTable
from raft_app.statemachine import InconsistentEntry
from raft_app.storage.protocol import Checkpoint, CreateGroup, DeleteGroup, GroupSpec, StoredGroup
from tests.raft_app.engine.engine_harness import ListMachine

SPEC = GroupSpec(7, 1, "logs", 0)
ALONE = Membership(voters=(RaftMember(1, 10),), version=1)
NOTHING = Checkpoint(0, 0, ALONE, 0, b"")


class DirectStream:
    """Stores at once and says so."""

    def __init__(self) -> None:
        self.operations = []
        self.fails = False
        self.waiting = []

    def submit(self, group_id, operation, on_durable=None):
        self.operations.append(operation)
        if on_durable is None:
            return
        if self.fails:
            self.waiting.append(on_durable)
        else:
            on_durable()

    async def asked(self, count=1):
        """Return once so many operations wait to be durable."""
        while len(self.waiting) < count:
            await asyncio.sleep(0)

    def finish(self):
        for on_durable in self.waiting:
            on_durable()
        self.waiting.clear()

    def flush(self):
        pass


def machine(spec, snapshot):
    if snapshot == b"broken":
        raise InconsistentEntry("it cannot be read")
    return ListMachine(spec, snapshot)


@pytest.fixture
async def stream():
    return DirectStream()


@pytest.fixture
async def table(stream):
    return ReplicaTable(
        replicas=LocalReplicas(),
        stream=stream,
        factory=machine,
        config=EngineConfig(checkpoints_per_request=1, checkpoint_entries=1),
        randomizer=lambda low, high: low,
        failure=asyncio.get_running_loop().create_future(),
        make_replica=partial(Replica, memory=MemoryBudget()),
        recent_bytes_max=128 << 20,
    )


async def test_replica_is_stored_before_it_takes_part(table, stream):
    replica = await table.create(SPEC, ALONE, campaign=True, used=frozenset())
    [operation] = stream.operations
    assert isinstance(operation, CreateGroup)
    assert operation.entries == bootstrap_state(1, ALONE).entries
    assert table._replicas == {7: replica}


async def test_not_each_new_replica_is_told_to_all_others(table, monkeypatch):
    told = []
    keep = Replica.keep_recent

    def note(replica, max_bytes):
        told.append((replica.group_id, max_bytes))
        keep(replica, max_bytes)

    monkeypatch.setattr(Replica, "keep_recent", note)
    for group_id in range(1, 301):
        spec = replace(SPEC, group_id=group_id)
        await table.create(spec, ALONE, campaign=False, used=frozenset())
    assert len(told) <= 4 * 300
    shares = dict(told)
    assert len(set(shares.values())) == 1
    assert (128 << 20) // 2 <= 300 * shares[1] <= 128 << 20


async def test_again_is_no_error_and_stores_nothing(table, stream):
    first = await table.create(SPEC, ALONE, campaign=False, used=frozenset())
    again = await table.create(SPEC, ALONE, campaign=False, used=frozenset({1}))
    assert again is first
    assert len(stream.operations) == 1


async def test_two_orders_at_once_make_one_group(table, stream):
    stream.fails = True  # nothing is durable yet
    orders = [
        asyncio.ensure_future(table.create(SPEC, ALONE, campaign=False, used=frozenset()))
        for _ in range(2)
    ]
    await stream.asked()
    stream.finish()
    first, second = await asyncio.gather(*orders)
    assert first is second
    assert table._replicas == {7: first}


async def test_replica_is_made_to_its_end_though_nobody_waits_for_it(table, stream):
    stream.fails = True  # nothing is durable yet
    order = asyncio.ensure_future(table.create(SPEC, ALONE, campaign=False, used=frozenset()))
    await stream.asked()
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    stream.finish()
    made = await table.find(7)
    assert made is not None
    assert table._replicas == {7: made}
    assert await table.create(SPEC, ALONE, campaign=False, used=frozenset({1})) is made


async def test_replica_that_is_being_made_is_deleted_for_good_with_all_orders_for_it(table, stream):
    stream.fails = True  # nothing is durable yet
    orders = [
        asyncio.ensure_future(table.create(SPEC, ALONE, campaign=True, used=frozenset()))
        for _ in range(2)
    ]
    await stream.asked()
    finding = asyncio.ensure_future(table.find(7))
    stream.finish()
    deleting = asyncio.ensure_future(table.delete(await finding))
    await stream.asked()
    await asyncio.gather(*orders)
    stream.finish()
    await deleting
    assert table._replicas == {}
    assert [type(one) for one in stream.operations] == [CreateGroup, DeleteGroup]
    with pytest.raises(StalePlacement):  # Also where the used ids were read before.
        await table.create(SPEC, ALONE, campaign=False, used=frozenset())


async def test_second_replica_is_refused_while_the_first_is_being_stored(table, stream):
    stream.fails = True  # nothing is durable yet
    first = asyncio.ensure_future(table.create(SPEC, ALONE, campaign=False, used=frozenset()))
    await stream.asked()
    other = GroupSpec(7, 2, "logs", 0)
    with pytest.raises(StalePlacement):
        await table.create(other, Membership(), campaign=False, used=frozenset())
    assert len(stream.operations) == 1
    stream.finish()
    assert (await first).spec == SPEC


async def test_second_replica_of_a_group_is_refused(table):
    await table.create(SPEC, ALONE, campaign=False, used=frozenset())
    with pytest.raises(StalePlacement):
        await table.create(GroupSpec(7, 2, "logs", 0), ALONE, campaign=False, used=frozenset())


async def test_replica_that_was_here_before_is_refused(table, stream):
    with pytest.raises(StalePlacement):
        await table.create(SPEC, ALONE, campaign=False, used=frozenset({1}))
    assert stream.operations == []


async def test_replica_that_the_list_does_not_name_is_refused(table, stream):
    with pytest.raises(ValueError, match="is not in"):
        await table.create(GroupSpec(7, 9, "logs", 0), ALONE, campaign=False, used=frozenset())
    assert stream.operations == []


async def test_deleted_replica_is_gone_from_memory_and_storage(table, stream):
    replica = await table.create(SPEC, ALONE, campaign=False, used=frozenset())
    await table.delete(replica)
    assert table._replicas == {}
    assert stream.operations[-1] == DeleteGroup(7)


async def test_watchers_are_told_when_a_group_comes_or_goes_and_else_not(table):
    moved = table._replicas.watch(Event.MOVED)
    replica = await table.create(SPEC, ALONE, campaign=False, used=frozenset())
    assert moved.pop(7) is replica
    await table.create(SPEC, ALONE, campaign=False, used=frozenset())
    assert not moved
    await table.delete(replica)
    assert moved.pop(7) is replica
    await table.delete(replica)
    assert not moved
    checkpoint = Checkpoint(1, 1, ALONE, 0, b'[["a"], 1, 0]')
    opened = table.open(StoredGroup(SPEC, bootstrap_state(1, ALONE), checkpoint))
    assert moved == {7: opened}


async def test_whoever_sees_a_new_replica_has_been_told_of_it(table, stream):
    moved = table._replicas.watch(Event.MOVED)
    stream.fails = True
    making = asyncio.ensure_future(table.create(SPEC, ALONE, campaign=False, used=frozenset()))
    await stream.asked()
    stream.finish()
    while not table._replicas:
        await asyncio.sleep(0)
    assert not making.done(), "somebody may look before the one who asked for it"
    assert moved == table._replicas
    await making


async def test_replica_that_nobody_waits_for_any_more_is_made(table, stream):
    stream.fails = True
    making = asyncio.ensure_future(table.create(SPEC, ALONE, campaign=True, used=frozenset()))
    await stream.asked()
    making.cancel()
    await asyncio.wait((making,))
    stream.finish()
    await asyncio.wait([task for _, task in table._making.values()])
    assert list(table._replicas) == [7]


async def test_failure_of_the_broker_ends_what_waits_for_storage(table, stream):
    stream.fails = True
    waiting = asyncio.ensure_future(table.create(SPEC, ALONE, campaign=False, used=frozenset()))
    await stream.asked()
    table._failure.set_exception(OSError("the disk is gone"))
    with pytest.raises(OSError, match="gone"):
        await waiting
    assert table._replicas == {}


async def test_stored_replica_is_opened_in_its_state(table):
    checkpoint = Checkpoint(1, 1, ALONE, 0, b'[["a"], 1, 0]')
    replica = table.open(StoredGroup(SPEC, bootstrap_state(1, ALONE), checkpoint))
    assert replica.state_machine.values == ["a"]
    assert not replica.faulty


async def test_faulty_or_unreadable_replica_is_opened_as_faulty_for_good(table, stream):
    initial = bootstrap_state(1, ALONE)
    doubted = table.open(StoredGroup(SPEC, initial, NOTHING, faulty="entry 3 is damaged"))
    assert doubted.faulty == "entry 3 is damaged"
    unreadable = table.open(StoredGroup(SPEC, initial, Checkpoint(1, 1, ALONE, 0, b"broken")))
    assert "cannot be read" in unreadable.faulty
    assert [operation.reason for operation in stream.operations] == [
        "entry 3 is damaged",
        "checkpoint: it cannot be read",
    ]


async def test_checkpoints_are_staggered(table, stream):
    for group_id in (7, 8):
        initial = bootstrap_state(1, ALONE)
        spec = GroupSpec(group_id, 1, "logs", 0)
        replica = table.open(StoredGroup(spec, initial, NOTHING))
        replica.applied.index = 5

    table.store_checkpoints()
    assert [operation.group_id for operation in stream.operations] == [7]
    table.store_checkpoints()
    table.store_checkpoints()
    assert [operation.group_id for operation in stream.operations] == [7, 8]


async def test_one_request_encodes_a_bounded_number_of_bytes_and_begins_where_most_was_applied(
    table, stream
):
    table._config = EngineConfig(checkpoint_entries=1, checkpoint_bytes_per_request=250)
    for group_id in range(1, 7):
        spec = GroupSpec(group_id, 1, "logs", 0)
        replica = table.open(StoredGroup(spec, bootstrap_state(1, ALONE), NOTHING))
        replica.state_machine.values = ["x" * 90]  # and 10 more bytes when it is encoded
        replica.applied.index = 100 + group_id % 4

    expected = [3, 2, 6, 1, 5, 4]
    for stored in (3, 6, 6):
        table.store_checkpoints()
        assert [operation.group_id for operation in stream.operations] == expected[:stored]
