"""What all replicas have together, kept up to date with those that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.overview import Overview
from broker_app.partition.commands import CommitOffsets, SetRetention
from broker_app.partition.limits import StateLimits
from raft_app.engine.local_replicas import Event
from tests.broker_app.engine_twin import EngineTwin
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
def engine() -> EngineTwin:
    return EngineTwin(StateLimits(producers_max=4))


@pytest.fixture
def overview(engine: EngineTwin) -> Overview:
    return Overview(engine.replicas, engine.replicas.watch(*Event))


def facts(overview: Overview) -> tuple[Any, ...]:
    """Return what an overview says now."""
    overview.refresh()
    chosen: tuple[Mapping[int, Any], ...] = (
        overview.led,
        overview.with_groups,
        overview.letting_go,
        overview.filling,
        overview.faulty,
    )
    return (overview.stored_bytes, *(sorted(one) for one in chosen))


def recounted(engine: EngineTwin) -> tuple[Any, ...]:
    """Return what somebody says who looks at every replica."""
    return facts(Overview(engine.replicas, engine.replicas.watch(*Event)))


async def test_every_sum_follows_what_happens_to_a_replica(
    engine: EngineTwin, overview: Overview
) -> None:
    for group_id in (1, 2, 3, 4):
        engine.add("logs", group_id, group_id=group_id)
    assert facts(overview) == (0, [1, 2, 3, 4], [], [], [], [])
    for producer in range(1, 5):
        await engine.propose(1, batch_of("x", producer_id=producer, sequence=0), timeout_ms=100)
    await engine.propose(2, batch_of("longer"), timeout_ms=100)
    await engine.propose(2, CommitOffsets("readers", 1, 0), timeout_ms=100)
    await engine.propose(3, SetRetention(retention_ms=5), timeout_ms=100)
    engine.replicas[4].faulty = "its log ends early"
    stored_bytes, *chosen = facts(overview)
    assert chosen == [[1, 2, 3], [2], [3], [1], [4]]
    assert stored_bytes == sum(one.state_machine.size_bytes for one in engine.replicas.values())
    assert facts(overview) == recounted(engine)

    engine.lose(engine.replicas[2])
    await engine.propose(3, SetRetention(), timeout_ms=100)
    engine.remove(1)
    assert facts(overview)[1:] == ([3], [], [], [], [4])
    assert facts(overview) == recounted(engine)
    engine.replicas[2].faulty = "its disk is worn out"
    engine.remove(4)
    assert facts(overview) == (0, [3], [], [], [], [2])


async def test_a_replica_that_takes_the_place_of_another_counts_once(
    engine: EngineTwin, overview: Overview
) -> None:
    old = engine.add("logs", 0, group_id=7)
    await engine.propose(7, batch_of("x"), timeout_ms=100)
    assert facts(overview)[0] > 0
    engine.remove(7)
    engine.add("logs", 0, group_id=7)
    old.note_change()
    assert facts(overview) == (0, [7], [], [], [], [])


def test_nothing_is_looked_at_that_did_not_change(engine: EngineTwin) -> None:
    changed = engine.replicas.watch(*Event)
    overview = Overview(engine.replicas, changed)
    for group_id in range(1, 50):
        engine.add("logs", group_id, group_id=group_id)
    overview.refresh()
    assert not changed
    engine.replicas[7].term += 1
    assert list(changed) == [7]
