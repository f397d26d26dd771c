from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from myqueue import (
    Consumer,
    DamagedExport,
    InvalidRequest,
    PartitionNotFound,
    Producer,
    Record,
    TopicDoesNotExist,
)
from myqueue.moving import exporting
from myqueue.moving.exporting import ExportOptions, Step, export, summary_of
from myqueue.moving.folder import Folder, opened
from myqueue.testing.queue import InMemoryQueue

COUNT = 300
SMALL = 10


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"orders": 2, "bills": 1}) as queue:
        produce(queue, "orders", COUNT)
        produce(queue, "bills", SMALL)
        yield queue


def produce(queue: InMemoryQueue, topic: str, count: int) -> None:
    with Producer(topic, queue.address) as producer:
        for number in range(count):
            producer.enqueue(topic, f"{topic} {number}", key=str(number))


def run(
    folder: Path, queue: InMemoryQueue, options: ExportOptions | None = None, steps: int = 10**9
) -> list[Step]:
    """Export, or begin to: what is taken no further than some steps was interrupted there."""
    taken = []
    for step in export(folder, queue.address, options or ExportOptions()):
        taken.append(step)
        if len(taken) == steps:
            break
    return taken


def exported(folder: Path) -> dict[tuple[str, int], list[tuple[int, str]]]:
    plan = Folder(folder).plan()
    assert plan is not None
    found = {}
    for topic in plan.topics:
        for index in topic.partitions:
            path = Folder(folder).file_of(topic.topic, index, compressed=plan.compressed)
            with opened(path) as lines:
                rows = [json.loads(line) for line in lines]
            found[topic.topic, index] = [(row["offset"], row["value"]) for row in rows]
    return found


def stored(queue: InMemoryQueue) -> dict[tuple[str, int], list[tuple[int, str]]]:
    found: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for topic in ("orders", "bills"):
        for one in queue.messages(topic):
            found.setdefault((topic, one.partition), []).append((one.offset, one.text))
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_everything_is_exported_once(
    queue: InMemoryQueue, tmp_path: Path, *, compressed: bool
) -> None:
    steps = run(tmp_path, queue, ExportOptions(compressed=compressed))
    assert exported(tmp_path) == stored(queue)
    assert (steps[-1].done, steps[-1].total) == (COUNT + SMALL, COUNT + SMALL)
    summary = summary_of(tmp_path)
    assert (summary.topics, summary.messages, summary.missed) == (2, COUNT + SMALL, 0)
    assert not list(tmp_path.glob("*/*.state"))
    assert run(tmp_path, queue, ExportOptions(compressed=compressed)) == []


def test_it_goes_on_wherever_it_was_interrupted(
    queue: InMemoryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PART_BYTES", 1)
    whole = len(run(tmp_path / "whole", queue))
    assert whole > 3
    for steps in range(1, whole + 1):
        folder = tmp_path / str(steps)
        run(folder, queue, steps=steps)
        with pytest.raises(DamagedExport, match="no complete export"):
            summary_of(folder)
        run(folder, queue)
        assert exported(folder) == stored(queue)


def test_it_goes_on_after_each_single_chunk(
    queue: InMemoryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PART_BYTES", 1)
    rounds = 0
    while run(tmp_path, queue, steps=1):
        rounds += 1
    assert rounds >= 3
    assert exported(tmp_path) == stored(queue)


def test_the_end_is_that_of_the_beginning(queue: InMemoryQueue, tmp_path: Path) -> None:
    before = stored(queue)
    run(tmp_path, queue, steps=1)
    produce(queue, "orders", 50)
    run(tmp_path, queue)
    assert exported(tmp_path) == before


def test_being_told_to_end_is_no_loss(queue: InMemoryQueue, tmp_path: Path) -> None:
    ended = list(export(tmp_path, queue.address, ExportOptions(), is_over=lambda: True))
    assert len(ended) == 1
    run(tmp_path, queue)
    assert exported(tmp_path) == stored(queue)


def test_topics_and_partitions_are_chosen(queue: InMemoryQueue, tmp_path: Path) -> None:
    run(tmp_path, queue, ExportOptions(topics=["orders"], partitions=[1]))
    assert exported(tmp_path) == {("orders", 1): stored(queue)["orders", 1]}
    with pytest.raises(TopicDoesNotExist):
        run(tmp_path / "other", queue, ExportOptions(topics=["order"]))
    with pytest.raises(PartitionNotFound):
        run(tmp_path / "other", queue, ExportOptions(partitions=[7]))


def test_a_time_bounds_it(tmp_path: Path) -> None:
    with InMemoryQueue(["orders"]) as queue:
        produce(queue, "orders", 5)
        later = 1 << 50
        run(tmp_path / "none", queue, ExportOptions(since_ms=later))
        run(tmp_path / "all", queue, ExportOptions(until_ms=later))
        run(tmp_path / "before", queue, ExportOptions(until_ms=1))
        lengths = [len(exported(tmp_path / one)["orders", 0]) for one in ("none", "all", "before")]
        assert lengths == [0, 5, 0]


def test_groups_are_told_where_they_are(queue: InMemoryQueue, tmp_path: Path) -> None:
    with Consumer("bills", queue.address, group="billing") as consumer:
        read = consumer.poll(4, 5.0)
        consumer.commit()
    run(tmp_path, queue)
    plan = Folder(tmp_path).plan()
    assert plan is not None
    told = [(one.group, one.kind, one.topic, one.partition, one.offset) for one in plan.groups]
    assert told == [("billing", "consumers", "bills", 0, len(read))]


def test_another_question_does_not_go_on_with_it(queue: InMemoryQueue, tmp_path: Path) -> None:
    run(tmp_path, queue, ExportOptions(said=["--since", "2h"]), steps=1)
    with pytest.raises(InvalidRequest, match="--since 2h"):
        run(tmp_path, queue, ExportOptions(said=["--since", "3h"]))


def test_a_topic_that_lost_its_end_is_told(
    queue: InMemoryQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from myqueue.moving import place

    monkeypatch.setattr(place, "LAGGING_S", 0.0)
    monkeypatch.setattr(place, "WAIT_S", 0.001)
    run(tmp_path, queue, ExportOptions(topics=["bills"]), steps=1)
    queue.clear()
    queue.create_topic("bills")
    with Producer("bills", queue.address) as producer:
        producer.produce_many("bills", [Record("x")])
    plan = Folder(tmp_path).plan()
    assert plan is not None
    Path(tmp_path / "bills" / "00000.state").unlink()
    with pytest.raises(DamagedExport, match="ends at 1"):
        run(tmp_path, queue, ExportOptions(topics=["bills"]))
