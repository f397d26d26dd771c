from __future__ import annotations

import random
import threading

import pytest

from myqueue.config import ClientConfig
from myqueue.consumer.consumer import Consumer
from myqueue.contract.errors import ManagerNotFound, NoLeader, PartitionNotFound, TopicDoesNotExist
from myqueue.producer.producer import Producer
from tests.myqueue.conftest import World
from tests.myqueue.http_twin import HttpCluster


def test_a_topic_is_asked_for_once(world: World) -> None:
    producer = world.producer("a")
    for _ in range(5):
        producer.enqueue("a", "x")
    assert len(world.twin.asked("/topics/a")) == 1


def test_new_partitions_are_seen_in_time(world: World) -> None:
    world.twin.create("a", 1)
    producer = world.producer("a", config=ClientConfig(metadata_max_age_ms=60_000))
    assert producer.partition_count("a") == 1
    world.twin.create("a", 2)
    assert producer.partition_count("a") == 1
    world.clock.sleep(61)
    assert producer.partition_count("a") == 2


def test_an_old_view_serves_while_no_manager_answers(world: World) -> None:
    producer = world.producer("a", config=ClientConfig(metadata_max_age_ms=1_000))
    producer.enqueue("a", "x", partition=0)
    world.twin.down.add(world.twin.manager)
    world.clock.sleep(100)
    started_s = world.clock.now_s
    producer.enqueue("a", "y", partition=0)
    assert world.clock.now_s == started_s


def test_without_any_view_the_manager_is_missed(world: World) -> None:
    producer = world.producer("a", config=ClientConfig(delivery_timeout_ms=1_000))
    world.twin.down.add(world.twin.manager)
    with pytest.raises(ManagerNotFound):
        producer.enqueue("a", "x")


def test_a_deleted_topic_does_not_exist(world: World) -> None:
    producer = world.producer("a")
    producer.enqueue("a", "x", partition=0)
    del world.twin.topics["a"]
    with pytest.raises(TopicDoesNotExist):
        producer.enqueue("a", "y", partition=0)
    with pytest.raises(TopicDoesNotExist):
        producer.topic_view("a")


def test_a_topic_of_any_name_is_asked_for(world: World) -> None:
    world.twin.create("a b/é", 1)
    assert world.producer("a b/é").enqueue("a b/é", "x") == (0, 0)


# An election, and a replica that was moved


def test_a_batch_too_large_for_a_list_waits_for_the_next_leader(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer = world.producer("a")
    producer.enqueue("a", "1")
    partition.leader = ""
    world.clock.after(0.5, lambda: setattr(partition, "leader", world.twin.brokers[1]))
    started_s = world.clock.now_s
    producer.produce_many("a", [b"x" * 100_000] * 30)
    assert len(partition.values) == 31
    assert 0.5 <= world.clock.now_s - started_s <= 2.0


def test_a_batch_too_large_for_a_manager_waits_for_a_broker_in_reach(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer = world.producer("a", config=ClientConfig(avoid_ms=60_000))
    producer.enqueue("a", "1")
    world.twin.down.update(world.twin.brokers)
    world.clock.after(0.5, world.twin.down.clear)
    started_s = world.clock.now_s
    producer.enqueue("a", b"x" * (1 << 20))
    assert len(partition.values) == 2
    assert world.clock.now_s - started_s <= 2.0


def test_a_replica_that_was_moved_is_followed(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer, consumer = world.producer("a"), world.consumer("a")
    producer.enqueue("a", "1")
    assert [message.text for message in consumer.poll()] == ["1"]
    old, new, _ = world.twin.brokers
    world.twin.emptied, partition.leader = {old}, new
    producer.enqueue("a", "2")
    assert world.twin.asked("/producer/produce") == [old, old, new]
    assert [message.text for message in consumer.poll()] == ["2"]
    assert consumer.fetch("a", 0, 1).messages[0].text == "2"
    assert consumer.get_size("a") == 0


def test_a_broker_that_does_not_know_a_partition_yet_is_asked_again(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer = world.producer("a")
    world.twin.emptied = set(world.twin.brokers)
    world.twin.fail("/producer/produce", NoLeader(), times=1_000, at=world.twin.manager)
    world.clock.after(0.5, world.twin.emptied.clear)
    producer.enqueue("a", "1")
    assert partition.values == ["1"]


def test_a_partition_that_is_gone_ends_the_call_after_a_manager_was_asked(world: World) -> None:
    world.twin.create("a", 2)
    producer, consumer = world.producer("a"), world.consumer("a")
    producer.enqueue("a", "x", partition=1)
    consumer.fetch("a", 1, 0)
    world.twin.create("a", 1)
    looks = len(world.twin.asked("/topics/a"))
    with pytest.raises(PartitionNotFound, match="partitions 0 to 0, not 1"):
        producer.enqueue("a", "x", partition=1)
    with pytest.raises(PartitionNotFound, match="partitions 0 to 0, not 1"):
        consumer.fetch("a", 1, 0)
    assert len(world.twin.asked("/topics/a")) == looks + 2
    assert producer.partition_count("a") == consumer.partition_count("a") == 1


# Over real sockets


def test_exactly_once_over_sockets_that_break(http_cluster: HttpCluster) -> None:
    cluster = http_cluster
    cluster.twin.create("a", 3)
    config = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, avoid_ms=1)
    with (
        Producer("a", cluster.address, config=config) as producer,
        Consumer("a", cluster.address, config=config) as consumer,
    ):
        cluster.twin.chaos = random.Random(7)
        for number in range(60):
            producer.enqueue("a", f"{number}")
        found: list[str] = []
        while len(found) < 60:
            found += [message.text for message in consumer.poll(7)]
        cluster.twin.chaos = None
    assert sorted(map(int, found)) == list(range(60))


def test_several_threads_share_a_producer(http_cluster: HttpCluster) -> None:
    cluster = http_cluster
    cluster.twin.create("a", 2)
    with Producer("a", cluster.address) as producer:

        def run(name: int) -> None:
            for number in range(25):
                producer.enqueue("a", f"{name}:{number}", partition=number % 2)

        threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for partition in cluster.twin.topics["a"]:
        for name in range(4):
            mine = [text for text in map(str, partition.values) if text.startswith(f"{name}:")]
            numbers = [int(text.split(":")[1]) for text in mine]
            assert numbers == sorted(numbers)
            assert len(numbers) in (12, 13)


def test_a_message_ends_the_wait_at_several_partitions(http_cluster: HttpCluster) -> None:
    cluster = http_cluster
    cluster.twin.create("a", 3)
    with Consumer("a", cluster.address) as consumer:
        assert consumer.poll(timeout=0.05) == []
        timer = threading.Timer(0.05, cluster.put, args=("a", 2, "late"))
        timer.start()
        assert [message.text for message in consumer.poll(timeout=30.0)] == ["late"]
        timer.join()


def test_a_broker_that_stops_is_left_for_the_new_leader(http_cluster: HttpCluster) -> None:
    cluster = http_cluster
    partition = cluster.twin.create("a", 1)[0]
    with Producer("a", cluster.address) as producer:
        producer.enqueue("a", "1")
        cluster.stop(partition.leader)
        partition.leader = cluster.twin.brokers[1]
        producer.enqueue("a", "2")
    assert partition.values == ["1", "2"]


# A leader that stands still


def test_a_silent_leader_is_left_for_the_one_that_leads_by_now(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer = world.producer("a")
    producer.enqueue("a", "1")
    world.twin.stopped = {world.twin.brokers[0]}
    world.clock.after(1.5, lambda: setattr(partition, "leader", world.twin.brokers[1]))
    started_s = world.clock.now_s
    producer.enqueue("a", "2")
    assert partition.values == ["1", "2"]
    assert 1.5 <= world.clock.now_s - started_s <= 2.5


def test_a_slow_leader_that_still_leads_is_waited_for(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    producer = world.producer("a")
    producer.enqueue("a", "1")
    world.twin.stopped = {world.twin.brokers[0]}
    world.clock.after(4.0, world.twin.stopped.clear)
    producer.enqueue("a", "2")
    assert partition.values == ["1", "2"]
    assert world.twin.asked("/producer/produce") == [world.twin.brokers[0]] * 2


def test_a_consumer_leaves_a_silent_leader_too(world: World) -> None:
    partition = world.twin.create("a", 1)[0]
    partition.put("1")
    consumer = world.consumer("a")
    consumer.get_size("a")
    world.twin.stopped = {world.twin.brokers[0]}
    partition.leader = world.twin.brokers[2]
    started_s = world.clock.now_s
    assert consumer.dequeue("a") == "1"
    assert world.clock.now_s - started_s <= 1.5
