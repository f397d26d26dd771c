from __future__ import annotations

from collections.abc import Iterator

import pytest

from myqueue import (
    Client,
    ClientConfig,
    Consumer,
    InvalidRequest,
    Message,
    Producer,
    Record,
    TopicDoesNotExist,
)
from myqueue.moving import mirroring
from myqueue.moving.marks import COPIED_FROM
from myqueue.moving.mirroring import Mirror, Mirrored, MirrorOptions
from myqueue.testing.queue import InMemoryQueue

COUNT = 120
Row = tuple[int, str | bytes, str | bytes | None, dict[str, str | bytes], int]


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "GLANCE_S", 0.01)
    monkeypatch.setattr(mirroring, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(mirroring, "COMMIT_EVERY_S", 0.0)
    monkeypatch.setattr(mirroring, "BATCH_MESSAGES", 10)


@pytest.fixture
def source() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"orders": 2}) as queue:
        produce(queue, 0, COUNT)
        yield queue


@pytest.fixture
def target() -> Iterator[InMemoryQueue]:
    with InMemoryQueue() as queue:
        yield queue


def produce(queue: InMemoryQueue, first: int, end: int) -> None:
    with Producer("orders", queue.address) as producer:
        records = [
            Record(f"v{one}", f"k{one}", {"a": b"\xff"}, 9 + one) for one in range(first, end)
        ]
        producer.produce_many("orders", records)


def mirror(
    source: InMemoryQueue,
    target: InMemoryQueue,
    *,
    looks: int = 10**9,
    copied: int = COUNT,
    groups: list[str] | None = None,
) -> Mirrored:
    """Mirror until so much was copied by this run, or for so many looks."""
    options = MirrorOptions(topics=["orders"], groups=[] if groups is None else groups)
    made = Mirror(source.address, target.address, options)
    for number, done in enumerate(made.run(lambda: False), 1):
        if number >= looks or (done.messages + done.dropped >= copied and done.lag == 0):
            break
    return made.mirrored


def rows(messages: list[Message]) -> list[Row]:
    found = []
    for one in messages:
        headers = {name: said for name, said in (one.headers or {}).items() if name != COPIED_FROM}
        found.append((one.partition, one.value, one.key, headers, one.timestamp))
    return found


def test_everything_comes_in_order_and_once(source: InMemoryQueue, target: InMemoryQueue) -> None:
    done = mirror(source, target)
    assert (done.messages, done.dropped, done.trouble) == (COUNT, 0, "")
    assert rows(target.messages("orders")) == rows(source.messages("orders"))


def test_it_goes_on_wherever_it_was_interrupted(
    source: InMemoryQueue, target: InMemoryQueue
) -> None:
    for looks in (1, 2, 1, 3):
        mirror(source, target, looks=looks)
    left = COUNT - len(target.messages("orders"))
    assert 0 < left < COUNT
    mirror(source, target, copied=left)
    assert rows(target.messages("orders")) == rows(source.messages("orders"))


def test_what_was_not_committed_at_the_source_is_found_in_the_target(
    source: InMemoryQueue, target: InMemoryQueue
) -> None:
    mirror(source, target)
    client = Client(source.address)
    client.reset_group("mirror", "orders", to="earliest", force=True)
    produce(source, COUNT, COUNT + 5)
    done = mirror(source, target, copied=COUNT + 5)
    assert (done.messages, done.dropped) == (5, COUNT)
    assert rows(target.messages("orders")) == rows(source.messages("orders"))


def test_a_target_that_lost_everything_gets_it_again(source: InMemoryQueue) -> None:
    with InMemoryQueue() as lost:
        mirror(source, lost)
    produce(source, COUNT, COUNT + 5)
    with InMemoryQueue() as target:
        mirror(source, target, copied=COUNT + 5)
        assert rows(target.messages("orders")) == rows(source.messages("orders"))


def test_a_topic_with_fewer_partitions_gets_more(
    source: InMemoryQueue, target: InMemoryQueue
) -> None:
    target.create_topic("orders", 1)
    mirror(source, target)
    assert Client(target.address).describe_topic("orders").number_of_partitions == 2
    Client(source.address).update_topic("orders", number_of_partitions=3)
    with Producer("orders", source.address) as producer:
        producer.enqueue("orders", "new", partition=2)
    mirror(source, target, copied=1)
    assert rows(target.messages("orders")) == rows(source.messages("orders"))


def offsets(queue: InMemoryQueue, group: str) -> dict[int, int]:
    partitions = Client(queue.address).describe_group(group).partitions
    return {one.partition: one.offset or 0 for one in partitions}


def read(queue: InMemoryQueue, count: int) -> None:
    with Consumer("orders", queue.address, group="billing") as consumer:
        done = 0
        while done < count:
            done += len(consumer.poll(min(10, count - done), 5.0))
        consumer.commit()


def test_groups_come_along_and_never_go_back(source: InMemoryQueue, target: InMemoryQueue) -> None:
    target.create_topic("orders", 2)
    with Producer("orders", target.address) as producer:
        producer.enqueue("orders", "other", partition=0)
    read(source, 30)
    mirror(source, target, groups=["billing"])
    before = {(one.partition, one.offset): one.value for one in source.messages("orders")}
    after = {(one.partition, one.offset): one.value for one in target.messages("orders")}
    at_source, at_target = offsets(source, "billing"), offsets(target, "billing")
    for partition, offset in at_source.items():
        assert after.get((partition, at_target[partition])) == before.get((partition, offset)) or (
            offset == 0 and at_target[partition] <= 1
        )
    read(source, 30)
    produce(source, COUNT, COUNT + 2)
    mirror(source, target, groups=["billing"], copied=2)
    moved = offsets(target, "billing")
    assert sum(moved.values()) >= sum(at_target.values()) + 30
    Client(source.address).reset_group("billing", "orders", to="earliest")
    mirror(source, target, groups=["billing"], looks=2)
    assert offsets(target, "billing") == moved


def test_a_group_that_has_moved_over_is_left_alone(
    source: InMemoryQueue, target: InMemoryQueue
) -> None:
    read(source, 30)
    mirror(source, target)
    with Consumer("orders", target.address, group="billing") as consumer:
        consumer.poll(1, 5.0)
        done = mirror(source, target, groups=["billing"], looks=1)
    assert all("GROUP_ACTIVE" in told or "is at" in told for told in done.groups.values())


def test_what_cannot_be_mirrored_is_refused(source: InMemoryQueue, target: InMemoryQueue) -> None:
    with pytest.raises(InvalidRequest, match="same cluster"):
        Mirror(source.address, source.address, MirrorOptions(topics=["orders"]))
    with pytest.raises(InvalidRequest, match="at least one"):
        Mirror(source.address, target.address, MirrorOptions(topics=[]))
    with pytest.raises(InvalidRequest, match="group name"):
        Mirror(source.address, target.address, MirrorOptions(topics=["orders"], name="a/b"))
    missing = Mirror(source.address, target.address, MirrorOptions(topics=["order"]))
    with pytest.raises(TopicDoesNotExist):
        next(missing.run(lambda: False))


def test_a_cluster_that_is_away_is_waited_for(
    source: InMemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "PAUSE_S", 0.0)
    hasty = ClientConfig(delivery_timeout_ms=100, manager_timeout_ms=50)
    options = MirrorOptions(topics=["orders"])
    with InMemoryQueue() as target:
        made = Mirror(source.address, target.address, options, target_config=hasty)
        running = made.run(lambda: False)
        next(running)
    while not next(running).trouble:
        pass
    assert next(running).trouble
