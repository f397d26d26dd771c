"""The workloads that go through the client library, on a cluster in memory."""

from __future__ import annotations

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.peers.queuesite import Site
from benchmarks.peers.session import Reading
from benchmarks.workloads.consume import Consume
from benchmarks.workloads.consume_fetch import ConsumeFetch
from benchmarks.workloads.end_to_end import EndToEnd
from benchmarks.workloads.loaded_topic import LoadedTopic
from benchmarks.workloads.produce_batch import ProduceBatch
from benchmarks.workloads.sync import Sync, Tasks
from myqueue.contract.records import Record
from tests.myqueue.http_twin import HttpCluster

SECONDS = 0.02


@pytest.mark.parametrize(
    "workload",
    [
        Sync(1),
        Sync(3),
        ProduceBatch(10),
        ConsumeFetch(3_000),
        Consume(Reading.POP, 3_000),
        Consume(Reading.GROUP, 3_000),
        Consume(Reading.WORKER, 3_000),
        EndToEnd(Reading.FETCH),
        EndToEnd(Reading.GROUP),
        EndToEnd(Reading.POP),
    ],
    ids=lambda workload: workload.name,
)
def test_every_run_counts_its_messages_and_checks_them(workload, site):
    workload.prepare(site)
    for _ in range(2):
        measurement = workload.run(SECONDS)
        assert measurement.messages > 0
        assert 0 < measurement.p50_ms <= measurement.p99_ms <= measurement.longest_ms
        assert workload.check() >= measurement.messages
    workload.close()


def test_tasks_share_a_producer_for_asyncio(tmp_path):
    cluster = HttpCluster()
    workload, site = Tasks(3), Site(cluster.address, tmp_path / "cluster.json")
    try:
        workload.prepare(site)
        for _ in range(2):
            measurement = workload.run(SECONDS)
            assert measurement.messages >= 3
            assert workload.check() >= measurement.messages
    finally:
        workload.close()
        site.close()
        cluster.stop()


def test_a_lost_message_is_found(site, twin):
    workload = Sync(1)
    workload.prepare(site)
    workload.run(SECONDS)
    (partition,) = twin.topics[workload._topic]
    partition.records.pop()
    partition.batches.pop()
    with pytest.raises(CheckFailed, match="1 acknowledged messages are lost"):
        workload.check()


def test_popping_what_is_not_next_is_found(site, twin):
    workload = Consume(Reading.POP, 2_000)
    workload.prepare(site)
    workload.run(SECONDS)
    (partition,) = twin.topics[workload._topic.name]
    partition.records[5:7] = [Record(b"another"), Record(b"one")]
    workload.run(SECONDS)
    with pytest.raises(CheckFailed, match="message 5 is b'another'"):
        workload.check()


def test_a_loaded_topic_holds_what_it_says(site):
    topic = LoadedTopic(site, "consume", 1_500)
    assert [value for _, value in site.stored(topic.name)] == topic.values
