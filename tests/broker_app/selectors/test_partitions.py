"""The local replicas, and whether the broker should get requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broker_app.inputs import PartitionQuery
from broker_app.partition.commands import PopMessages
from broker_app.selectors.partitions import (
    INTERVALS_WITHOUT_TICK_MAX,
    partition_get,
    partitions_list,
    problems_list,
)
from http_base.cluster import ReplicaPlace
from tests.broker_app.replica import batch_of

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, LinkTwin, ReplicaTwin


def test_replicas_are_listed_by_topic_and_number_of_the_partition(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    for group_id, (topic, partition) in enumerate(
        [("logs", 10), ("logs", 2), ("alerts", 3), ("logs", 0)], 1
    ):
        engine.add(topic, partition, group_id=group_id)

    def listed(**query: Any) -> list[tuple[str, int]]:
        page = partitions_list(runtime=runtime, asked=PartitionQuery(**query))
        return [(one.topic, one.partition) for one in page.rows]

    every = [("alerts", 3), ("logs", 0), ("logs", 2), ("logs", 10)]
    assert listed() == every
    assert listed(topic="logs") == every[1:]
    assert listed(topic="log") == []
    assert listed(topic="") == []
    assert listed(topic="logs", partition=2) == [("logs", 2)]
    assert listed(partition=0) == [("logs", 0)]
    assert listed(leads=True) == every
    engine.lose(next(one for one in engine.replicas.values() if one.spec.partition == 10))
    assert listed(leads=True) == every[:3]


def test_pages_of_replicas_have_each_once_also_while_replicas_come_and_go(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    for number in range(12):
        engine.add("logs" if number % 2 else "mails", number, group_id=number + 1)
    seen: list[tuple[str, int]] = []
    after: str | None = ""
    while after is not None:
        page = partitions_list(runtime=runtime, asked=PartitionQuery(limit=5, after=after))
        seen += [(one.topic, one.partition) for one in page.rows]
        after = page.next
        engine.remove(2)  # logs/1: seen, and nothing moves up for it
        engine.remove(12)  # logs/11, the last of the topic: not seen
        if 20 not in engine.replicas:
            engine.add("mails", 19, group_id=20)
    logs = [("logs", index) for index in (1, 3, 5, 7, 9)]
    assert seen == logs + [("mails", index) for index in (0, 2, 4, 6, 8, 10, 19)]


async def test_replica_tells_offsets_tables_and_places(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    await engine.propose(7, batch_of("a", "b", sequence=0), timeout_ms=100)
    await engine.propose(7, PopMessages(5, 0, 1, b"d"), timeout_ms=100)
    [told] = partitions_list(runtime=runtime, asked=PartitionQuery()).rows
    assert told == partition_get(runtime=runtime, replica=replica)  # type: ignore[arg-type]
    expected = {
        "group_id": 7,
        "replica_id": 70,
        "role": "leader",
        "serves": True,
        "log_start_offset": 0,
        "high_watermark": 2,
        "applied_index": 2,
        "consumer_groups": 0,
        "cursors": 1,
        "producers": 1,
        "request_ids": 1,
        "replicas": [ReplicaPlace(replica_id=70, broker_id=1)],
        "followers": [],
        "faulty": "",
    }
    assert {name: getattr(told, name) for name in expected} == expected
    engine.lose(replica)
    [told] = partitions_list(runtime=runtime, asked=PartitionQuery()).rows
    assert (told.role, told.serves, told.leader_broker_id) == ("follower", False, 2)


def test_broker_is_ready_without_a_manager_and_without_replicas(
    runtime: BrokerRuntime, engine: EngineTwin, link: LinkTwin
) -> None:
    assert link.last_contact is None
    assert problems_list(runtime=runtime) == []
    engine.lose(engine.add(), leader=0)
    assert problems_list(runtime=runtime) == [], "an election is no fault of this broker"


@pytest.mark.parametrize(("silent", "ready"), [(INTERVALS_WITHOUT_TICK_MAX - 1, True), (20, False)])
def test_missing_ticks_make_it_unready_after_twenty_intervals(
    runtime: BrokerRuntime, engine: EngineTwin, silent: int, ready: bool
) -> None:
    engine.watchdog.intervals_without_tick = silent
    problems = problems_list(runtime=runtime)
    assert problems == ([] if ready else ["no tick for 20 intervals"])


def test_every_problem_is_told(runtime: BrokerRuntime, engine: EngineTwin) -> None:
    engine.watchdog.intervals_without_tick = 31
    engine.failure.done = lambda: True
    engine.slow_disk.seconds_so_far = 6.2
    engine.disk.full = True
    engine.add("logs", 0, group_id=1)
    engine.add("logs", 1, group_id=2).faulty = "a bad row"
    assert problems_list(runtime=runtime) == [
        "no tick for 31 intervals",
        "the storage failed",
        "the disk has not finished a write for 6 s",
        "the disk has less than its reserve of free space",
        "replica of partition 1 of topic 'logs' is faulty: a bad row",
    ]
