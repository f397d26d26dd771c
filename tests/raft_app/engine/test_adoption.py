"""A replica that goes on alone with what it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from myqueue.contract.errors import StalePlacement
from raft_app.core.types import Membership, RaftMember, Role
from raft_app.storage.protocol import GroupSpec, StoredBatch
from tests.raft_app.engine.engine_harness import EngineCluster

pytestmark = pytest.mark.asyncio

OLD = "restored from an older copy"


@pytest.fixture
async def cluster() -> AsyncIterator[EngineCluster]:
    cluster = EngineCluster(3)
    await cluster.start_all()
    await cluster.create_group()
    await cluster.append("a")
    await cluster.append("b")
    await cluster.until(lambda: cluster.values(2) == ["a", "b"])
    yield cluster
    await cluster.stop_all()


def lose(cluster: EngineCluster) -> None:
    """Make every replica faulty."""
    for engine in cluster.engines.values():
        engine.engine_loop.make_faulty(engine.replicas[1], OLD)


def adoption(cluster, broker_id=2, *, replica_id=99, filler=(), above_term=0):
    engine = cluster.engines[broker_id]
    return engine.adoption.adopt(
        engine.replicas[1],
        GroupSpec(1, replica_id, "logs", 0),
        Membership(voters=(RaftMember(replica_id, broker_id),), version=2),
        filler,
        above_term=above_term,
    )


async def test_it_leads_alone_in_a_later_term_with_all_that_it_had(cluster):
    lose(cluster)
    before = cluster.engines[2].replicas[1].node.term
    replica = await adoption(cluster, above_term=before + 5)
    await cluster.until(lambda: replica.serves)
    assert replica.node.term > before + 5
    assert cluster.values(2) == ["a", "b"]
    assert await cluster.append("c") == 2
    assert cluster.engines[2].replicas[1] is replica
    others = [cluster.engines[one].replicas[1] for one in (1, 3)]
    assert all(one.faulty == OLD and one.role is not Role.LEADER for one in others)


async def test_it_survives_a_restart_and_others_join_it(cluster):
    lose(cluster)
    replica = await adoption(cluster)
    await cluster.until(lambda: replica.serves)
    await cluster.stop(2)
    await cluster.start(2)
    await cluster.until(lambda: cluster.leader() is cluster.engines[2])
    await cluster.engines[1].delete_replica(1)
    await cluster.join(1, 100)
    await cluster.change_replicas([(99, 2), (100, 1)], version=3)
    await cluster.until(lambda: cluster.values(1) == ["a", "b"])


async def test_filler_takes_the_offsets_of_what_is_lost(cluster):
    lose(cluster)
    examined = await cluster.engines[2].adoption.examine(1)
    assert examined.end_offset == 2
    filler = [StoredBatch(2, 1, 1_000, b"lost")]
    replica = await adoption(cluster, filler=filler)
    await cluster.until(lambda: replica.serves)
    assert cluster.values(2) == ["a", "b", "lost"]


async def test_a_sound_replica_goes_on_alone_too_and_is_faulty_under_its_old_id(cluster):
    for broker_id in (1, 3):
        await cluster.stop(broker_id)
    old = cluster.engines[2].replicas[1]
    replica = await adoption(cluster)
    assert "goes on without it" in old.faulty
    await cluster.until(lambda: replica.serves)


async def test_what_does_not_fit_is_refused_and_stays_out_of_service(cluster):
    lose(cluster)
    with pytest.raises(StalePlacement, match="end at 2"):
        await adoption(cluster, filler=[StoredBatch(5, 1, 1_000, b"lost")])
    with pytest.raises(StalePlacement, match="cannot go on here"):
        await adoption(cluster, replica_id=12)
    assert cluster.engines[2].replicas[1].faulty == OLD


async def test_damaged_entries_are_not_gone_on_with(cluster):
    lose(cluster)
    await cluster.until(lambda: bool(cluster.storages[2]._replicas[1].faulty))
    last = cluster.engines[2].replicas[1].node.last_index
    cluster.storages[2].damage_entry(1, last)
    with pytest.raises(StalePlacement, match="cannot be used"):
        await adoption(cluster)


async def test_of_two_at_once_one_is_done(cluster):
    lose(cluster)
    both = await asyncio.gather(
        adoption(cluster), adoption(cluster, replica_id=98), return_exceptions=True
    )
    assert [isinstance(one, StalePlacement) for one in both] == [False, True]
    await cluster.until(lambda: cluster.leader() is not None)
