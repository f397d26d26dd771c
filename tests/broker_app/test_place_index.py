"""Where the replicas of partitions are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from myqueue.contract.errors import PartitionNotFound
from raft_app.engine.local_replicas import LocalReplicas
from tests.broker_app.engine_twin import runtime_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin


class WalkedReplicas(LocalReplicas):
    """Replicas that count who looks at all of them."""

    walks = 0

    def __iter__(self) -> Iterator[int]:
        self.walks += 1
        return super().__iter__()

    def items(self) -> Any:
        self.walks += 1
        return super().items()

    def values(self) -> Any:
        self.walks += 1
        return super().values()


def test_partition_is_found_as_groups_come_and_go(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    with pytest.raises(PartitionNotFound):
        runtime.partition("logs", 0)
    first = engine.add("logs", 0, group_id=7)
    assert runtime.partition("logs", 0) is first
    again = engine.add("logs", 0, group_id=9)
    assert runtime.partition("logs", 0) is again
    engine.remove(9)
    assert runtime.partition("logs", 0) is first
    engine.remove(7)
    engine.add("logs", 1, group_id=11)
    with pytest.raises(PartitionNotFound):
        runtime.partition("logs", 0)


def test_a_replica_that_takes_the_place_of_another_of_its_group_counts(
    engine: EngineTwin, runtime: BrokerRuntime
) -> None:
    old = engine.add("logs", 0, group_id=7)
    assert runtime.partition("logs", 0) is old
    engine.remove(7)
    new = engine.add("logs", 0, group_id=7)
    new.note_change()
    assert runtime.partition("logs", 0) is new


def test_newer_group_of_a_name_counts_though_another_went_meanwhile(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    old = engine.add("logs", 0, group_id=7)
    engine.add("other", 0, group_id=8)
    assert runtime.partition("logs", 0) is old
    engine.remove(8)
    new = engine.add("logs", 0, group_id=9)
    assert runtime.partition("logs", 0) is new
    with pytest.raises(PartitionNotFound):
        runtime.partition("other", 0)


def test_flood_of_unknown_partitions_walks_over_the_groups_once_when_one_went(
    engine: EngineTwin,
) -> None:
    engine.replicas = watched = WalkedReplicas()
    runtime = runtime_over(engine)
    for partition in range(10):
        engine.add("logs", partition, group_id=partition + 1)
    for walks in (0, 1, 2):
        for number in range(100):
            with pytest.raises(PartitionNotFound):
                runtime.partition("logs", 1_000 + number)
            with pytest.raises(PartitionNotFound):
                runtime.partition(f"unknown-{number}", 0)
            assert runtime.partition("logs", number % 8).spec.partition == number % 8
            assert len(runtime.places) == 10 - walks
        assert watched.walks == walks
        engine.remove(10 - walks)
