"""Replicas made and dropped on a manager's word, leadership handed over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from broker_app.services.partitions import leader_transfer, partition_create, partition_delete
from http_base.cluster import DeletedPartition, ReplicaOrder, ReplicaPlace
from myqueue.contract.errors import (
    InvalidRequest,
    NoLeader,
    NotLeader,
    PartitionNotFound,
    StalePlacement,
)
from tests.broker_app.engine_twin import turns

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, LinkTwin, ReplicaTwin

HERE, THERE = ReplicaPlace(81, 1), ReplicaPlace(82, 2)


def order(**changes: Any) -> ReplicaOrder:
    """Return the order for replica 81 of group 8 on broker 1, with one on broker 2."""
    fields = {
        "group_id": 8,
        "replica_id": 81,
        "topic": "logs",
        "partition": 1,
        "bootstrap": True,
        "replicas": [HERE, THERE],
        "epoch": 3,
        "version": 4,
    }
    return ReplicaOrder(**{**fields, **changes})


async def test_replica_begins_with_the_list_of_the_order(
    runtime: BrokerRuntime, engine: EngineTwin, link: LinkTwin
) -> None:
    made = await partition_create(runtime=runtime, order=order())
    assert (made.spec.group_id, made.spec.replica_id) == (8, 81)
    assert (made.spec.topic, made.spec.partition) == ("logs", 1)
    assert [member.replica_id for member in made.membership.voters] == [81, 82]
    assert made.membership.version == 4
    assert runtime.epoch == 3
    assert runtime.partition("logs", 1) is made
    assert link.heartbeats == 0, "every broker of the list is known"


@pytest.mark.parametrize(("replicas", "campaigns"), [([HERE, THERE], [8]), ([THERE, HERE], [])])
async def test_first_replica_of_the_list_campaigns_and_no_other(
    runtime: BrokerRuntime, engine: EngineTwin, replicas: list[ReplicaPlace], campaigns: list[int]
) -> None:
    await partition_create(runtime=runtime, order=order(replicas=replicas))
    assert engine.campaigned == campaigns


async def test_unknown_broker_of_the_list_is_asked_for_at_once(
    runtime: BrokerRuntime, link: LinkTwin
) -> None:
    await partition_create(
        runtime=runtime, order=order(replicas=[HERE, THERE, ReplicaPlace(83, 3)])
    )
    assert link.heartbeats == 1


async def test_replica_that_is_there_is_left_as_it_is(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    made = await partition_create(runtime=runtime, order=order())
    for again in (order(), order(bootstrap=False, replicas=[THERE], version=9, epoch=4)):
        assert await partition_create(runtime=runtime, order=again) is made
    assert made.membership.version == 4
    assert engine.campaigned == [8]


@pytest.mark.parametrize("change", [{"replica_id": 82}, {"topic": "other"}, {"partition": 2}])
async def test_group_that_is_here_as_another_replica_is_refused(
    runtime: BrokerRuntime, change: dict[str, Any]
) -> None:
    made = await partition_create(runtime=runtime, order=order())
    with pytest.raises(StalePlacement, match="group 8 is here"):
        await partition_create(runtime=runtime, order=order(**change))
    assert runtime.partition("logs", 1) is made


async def test_order_of_an_earlier_manager_makes_nothing(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    await runtime.obey_epoch(4)
    with pytest.raises(StalePlacement):
        await partition_create(runtime=runtime, order=order())
    assert not engine.replicas


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"group_id": 0}, "group_id"),
        ({"replica_id": -1}, "replica_id"),
        ({"partition": -1}, "partition"),
        ({"replicas": []}, "replicas"),
        ({"replicas": [THERE]}, "replicas"),
        ({"replicas": [ReplicaPlace(81, 2), THERE]}, "replicas"),
        ({"replicas": [ReplicaPlace(80, 1), THERE]}, "replicas"),
        ({"replicas": [HERE, ReplicaPlace(81, 2)]}, "replicas"),
    ],
)
async def test_order_that_contradicts_itself_or_names_others_makes_nothing(
    runtime: BrokerRuntime, engine: EngineTwin, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await partition_create(runtime=runtime, order=order(**change))
    assert refused.value.details["field"] == field
    assert not engine.replicas


async def test_dropped_replica_wakes_its_long_polls_and_is_found_no_more(
    runtime: BrokerRuntime, replica: ReplicaTwin
) -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(runtime.long_polls.wait(7, 0, loop.time() + 60))
    await turns()
    deleted = DeletedPartition(group_id=7, topic="logs", partition=0)
    assert await partition_delete(runtime=runtime, deleted=deleted)
    assert await waiting, "to look again, and find nothing"
    with pytest.raises(PartitionNotFound):
        runtime.partition("logs", 0)
    assert not await partition_delete(runtime=runtime, deleted=deleted)


@pytest.mark.parametrize(("topic", "partition"), [("other", 0), ("logs", 1)])
async def test_deletion_of_another_partition_of_that_group_id_drops_nothing(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin, topic: str, partition: int
) -> None:
    deleted = DeletedPartition(group_id=7, topic=topic, partition=partition)
    with pytest.raises(StalePlacement, match="group 7 is here"):
        await partition_delete(runtime=runtime, deleted=deleted)
    assert engine.replicas == {7: replica}


async def transfer(runtime: BrokerRuntime, broker_id: int, group_id: int = 7) -> None:
    await leader_transfer(runtime=runtime, group_id=group_id, broker_id=broker_id, timeout_ms=100)


async def test_leadership_goes_to_the_broker_that_is_named(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await transfer(runtime, 2)
    assert engine.transfers == [(7, 2)]


async def test_leadership_that_is_there_already_is_not_moved(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await transfer(runtime, 1)
    engine.lose(replica, leader=3)
    await transfer(runtime, 3)
    assert engine.transfers == []


async def test_leadership_that_is_elsewhere_faulty_or_unknown_is_not_handed_over(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    with pytest.raises(PartitionNotFound):
        await transfer(runtime, 2, group_id=99)
    replica.faulty = "a bad row"
    with pytest.raises(NoLeader, match="a bad row"):
        await transfer(runtime, 2)
    replica.faulty = ""
    engine.lose(replica, leader=3)
    with pytest.raises(NotLeader):
        await transfer(runtime, 2)
    assert engine.transfers == []
