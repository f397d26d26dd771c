from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from broker_app.console import facts
from broker_app.partition.commands import (
    Command,
    CommitOffsets,
    OpenCursor,
    ReceiveMessages,
    Start,
)
from myqueue.contract.errors import PartitionNotFound

if TYPE_CHECKING:
    from broker_app.runtime import BrokerRuntime
    from tests.broker_app.engine_twin import EngineTwin, ReplicaTwin


def names(page: facts.Page[facts.ReplicaFacts]) -> list[str]:
    return [f"{row.told.topic}/{row.told.partition}" for row in page.rows]


def do(replica: ReplicaTwin, *commands: object) -> None:
    data = replica.state_machine._data
    for index, command in enumerate(commands, 1):
        data.execute(Command(0, command), 0, index=index)  # type: ignore[arg-type]


def test_the_broker_says_which_peers_it_hears_and_reaches(
    runtime: BrokerRuntime, engine: EngineTwin, replica: ReplicaTwin
) -> None:
    shown = facts.broker_facts(runtime)
    assert (shown.broker_id, shown.replicas, shown.problems) == (1, 1, [])
    [peer] = shown.peers
    assert (peer.broker_id, peer.hears, peer.reaches) == (2, True, False)
    engine.disk.full = True
    assert "reserve of free space" in facts.broker_facts(runtime).problems[0]


def test_replicas_are_paged_in_their_order_and_a_topic_is_found(
    runtime: BrokerRuntime, engine: EngineTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "PAGE_SIZE", 2)
    for number, topic in enumerate(("b", "a", "b", "a-b", "c")):
        engine.add(topic, number, group_id=number + 1)
    first = facts.replicas_page(runtime, topic="", after="")
    assert (names(first), first.next) == (["a/1", "a-b/3"], "a-b/3")
    second = facts.replicas_page(runtime, topic="", after=first.next or "")
    assert names(second) == ["b/0", "b/2"]
    assert names(facts.replicas_page(runtime, topic="b", after="")) == ["b/0", "b/2"]
    assert names(facts.replicas_page(runtime, topic="b", after="b/0")) == ["b/2"]
    assert names(facts.replicas_page(runtime, topic="zzz", after="")) == []
    assert names(facts.replicas_page(runtime, topic="", after="nonsense")) == ["a/1", "a-b/3"]
    engine.remove(2)
    assert names(facts.replicas_page(runtime, topic="", after="")) == ["a-b/3", "b/0"]


def test_a_page_of_ten_thousand_replicas_reads_a_page(
    runtime: BrokerRuntime, engine: EngineTwin
) -> None:
    for number in range(10_000):
        engine.add(f"t{number % 100}", number // 100, group_id=number + 1)
    facts.replicas_page(runtime, topic="", after="")  # which makes the index
    begun = time.thread_time()
    page = facts.replicas_page(runtime, topic="", after="t50/50")
    assert len(page.rows) == facts.PAGE_SIZE
    assert time.thread_time() - begun < 0.1


def test_a_replica_says_where_groups_and_cursors_are_a_page_at_a_time(
    runtime: BrokerRuntime, replica: ReplicaTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "PAGE_SIZE", 2)
    do(
        replica,
        *(OpenCursor(number, Start.EARLIEST) for number in (9, 3, 7)),
        *(CommitOffsets(name, 4, 0) for name in ("b", "a")),
        ReceiveMessages("jobs", (), 0, 0, 1_000, 5),
    )
    detail = facts.replica_detail(runtime, "logs", 0, cursor="", group="")
    assert (detail.cursors.rows, detail.cursors.next) == ([(3, 0), (7, 0)], "7")
    assert [(one.name, one.kind, one.generation) for one in detail.groups.rows] == [
        ("a", "consumers", 4),
        ("b", "consumers", 4),
    ]
    more = facts.replica_detail(runtime, "logs", 0, cursor="7", group="b")
    assert (more.cursors.rows, more.cursors.next) == ([(9, 0)], None)
    assert [(one.name, one.kind) for one in more.groups.rows] == [("jobs", "workers")]
    with pytest.raises(PartitionNotFound):
        facts.replica_detail(runtime, "logs", 5, cursor="", group="")
