from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from myqueue import (
    Client,
    Consumer,
    DamagedExport,
    InvalidRequest,
    PartitionNotFound,
    Producer,
    Record,
    TopicAlreadyExists,
    TopicDoesNotExist,
)
from myqueue.contract.records import MAX_MESSAGE_BYTES
from myqueue.moving import importing
from myqueue.moving.exporting import ExportOptions, export
from myqueue.moving.folder import Folder
from myqueue.moving.importing import Imported, ImportOptions, import_folder
from myqueue.moving.marks import COPIED_FROM
from myqueue.results import Message
from myqueue.testing.queue import InMemoryQueue

COUNT = 200
HEADERS: dict[str, str | bytes] = {"text": "x", "bytes": b"\xff"}
Row = tuple[int, str | bytes, str | bytes | None, dict[str, str | bytes], int]


@pytest.fixture
def source() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"orders": 2, "bills": 1}) as queue:
        with Producer(["orders", "bills"], queue.address) as producer:
            records = [
                Record(
                    f"v{number}", f"k{number % 9}", HEADERS if number % 2 else None, 1_000 + number
                )
                for number in range(COUNT)
            ]
            producer.produce_many("orders", [*records, Record(b"\xff", b"\xfe", None, 5)])
            producer.produce_many("bills", ["bill"])
        yield queue


@pytest.fixture
def folder(source: InMemoryQueue, tmp_path: Path) -> Path:
    for _ in export(tmp_path / "saved", source.address, ExportOptions()):
        pass
    return tmp_path / "saved"


@pytest.fixture
def target() -> Iterator[InMemoryQueue]:
    with InMemoryQueue() as queue:
        yield queue


def run(
    folder: Path, queue: InMemoryQueue, options: ImportOptions | None = None, steps: int = 10**9
) -> Imported:
    imported = Imported()
    began = import_folder(folder, queue.address, options or ImportOptions(), imported)
    for _ in islice(began, steps):
        pass
    return imported


def rows(messages: list[Message], *, keeps_mark: bool = False) -> list[Row]:
    found = []
    for one in messages:
        headers = dict(one.headers or {})
        if not keeps_mark:
            headers.pop(COPIED_FROM, None)
        found.append((one.partition, one.value, one.key, headers, one.timestamp))
    return found


def test_everything_comes_back_in_its_partition(
    source: InMemoryQueue, folder: Path, target: InMemoryQueue
) -> None:
    imported = run(folder, target)
    assert imported.messages == COUNT + 2
    for topic in ("orders", "bills"):
        assert rows(target.messages(topic)) == rows(source.messages(topic))
    again = run(folder, target)
    assert (again.messages, again.there) == (0, COUNT + 2)
    assert len(target.messages("orders")) == COUNT + 1


def test_it_goes_on_wherever_it_was_interrupted(
    source: InMemoryQueue, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_MESSAGES", 30)
    for steps in range(1, 10):
        with InMemoryQueue() as queue:
            run(folder, queue, steps=steps)
            run(folder, queue)
            assert rows(queue.messages("orders")) == rows(source.messages("orders"))
            assert rows(queue.messages("bills")) == rows(source.messages("bills"))


def test_being_told_to_end_is_no_loss(
    source: InMemoryQueue, folder: Path, target: InMemoryQueue
) -> None:
    imported = Imported()
    steps = list(
        import_folder(folder, target.address, ImportOptions(), imported, is_over=lambda: True)
    )
    assert len(steps) == 1
    assert imported.groups == []
    run(folder, target)
    assert rows(target.messages("orders")) == rows(source.messages("orders"))


def test_an_existing_topic_is_joined_only_when_it_is_named(
    folder: Path, target: InMemoryQueue
) -> None:
    target.create_topic("bills", 1)
    with Producer("bills", target.address) as producer:
        producer.enqueue("bills", "other")
    only = ImportOptions(topics=["bills"])
    with pytest.raises(TopicAlreadyExists, match="--into"):
        run(folder, target, only)
    assert target.values("bills") == ["other"]
    into = ImportOptions(topics=["bills"], into="bills")
    run(folder, target, into)
    run(folder, target, into)
    assert target.values("bills") == ["other", "bill"]


def test_a_topic_gets_another_name(folder: Path, target: InMemoryQueue) -> None:
    run(folder, target, ImportOptions(topics=["orders"], into="again", partitions=[1]))
    assert Client(target.address).list_topics() == ["again"]
    assert {one.partition for one in target.messages("again")} == {1}
    with pytest.raises(InvalidRequest, match="one topic"):
        run(folder, target, ImportOptions(into="again"))
    with pytest.raises(TopicDoesNotExist):
        run(folder, target, ImportOptions(topics=["order"]))
    with pytest.raises(PartitionNotFound):
        run(folder, target, ImportOptions(topics=["bills"], partitions=[1]))


def test_a_topic_with_fewer_partitions_is_refused(folder: Path, target: InMemoryQueue) -> None:
    target.create_topic("orders", 1)
    with pytest.raises(PartitionNotFound, match="has 1 partitions, the export 2"):
        run(folder, target)


def test_groups_go_on_at_the_same_message(source: InMemoryQueue, tmp_path: Path) -> None:
    with Consumer("orders", source.address, group="billing") as consumer:
        for _ in range(2):
            consumer.poll(20, 5.0)
        consumer.commit()
        parted = {
            (one.topic, one.partition): one.offset
            for one in Client(source.address).describe_group("billing").partitions
        }
    for _ in export(tmp_path, source.address, ExportOptions(topics=["orders"])):
        pass
    with InMemoryQueue({"orders": 2}) as queue:
        with Producer("orders", queue.address) as producer:
            for number in range(5):
                producer.enqueue("orders", "other", partition=number % 2)
        into = ImportOptions(topics=["orders"], into="orders")
        told = run(tmp_path, queue, into).groups
        assert len(told) == 2
        by_place = {(one.partition, one.offset): one for one in queue.messages("orders")}
        before = {(one.partition, one.offset): one for one in source.messages("orders")}
        for one in Client(queue.address).describe_group("billing").partitions:
            assert one.offset is not None
            offset = parted["orders", one.partition]
            assert offset is not None
            assert by_place[one.partition, one.offset].value == before[one.partition, offset].value
        assert all(one.endswith("is there") for one in run(tmp_path, queue, into).groups)


def test_a_group_of_the_target_stays_where_it_is(
    source: InMemoryQueue, tmp_path: Path, target: InMemoryQueue
) -> None:
    with Consumer("bills", source.address, group="billing") as consumer:
        consumer.poll(1, 5.0)
        consumer.commit()
    for _ in export(tmp_path, source.address, ExportOptions(topics=["bills"])):
        pass
    target.create_topic("bills")
    with Producer("bills", target.address) as producer:
        producer.enqueue("bills", "a")
        producer.enqueue("bills", "b")
    with Consumer("bills", target.address, group="billing") as consumer:
        consumer.poll(1, 5.0)
        consumer.commit()
    told = run(tmp_path, target, ImportOptions(topics=["bills"], into="bills")).groups
    assert told == ["billing bills/0 stays at 1, not 3"]


def file_of(folder: Path, topic: str, partition: int) -> Path:
    return Folder(folder).file_of(topic, partition, compressed=False)


def test_a_changed_file_is_refused_before_anything_is_sent(
    folder: Path, target: InMemoryQueue
) -> None:
    path = file_of(folder, "orders", 0)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedExport, match="were exported"):
        run(folder, target)
    assert Client(target.address).list_topics() == []


def test_bad_lines_are_named_and_counted(
    source: InMemoryQueue, folder: Path, target: InMemoryQueue
) -> None:
    path = file_of(folder, "orders", 1)
    lines = path.read_bytes().splitlines(keepends=True)
    too_long = b'{"offset":%d,"value":"%s"}\n' % (6, b"x" * (MAX_MESSAGE_BYTES + 1))
    bad = [b'{"offset":3,"val\n', lines[4], lines[4], b'{"offset":5}\n', too_long]
    path.write_bytes(b"".join([*lines[:3], *bad, *lines[7:-1], lines[-1][:-5]]))
    imported = run(folder, target, ImportOptions(skip_bad=True))
    assert imported.bad == 5
    kept = [one for one in source.messages("orders") if one.partition == 1]
    last = len(kept) - 1
    expected = [one for one in kept if one.offset not in (3, 5, 6, last)]
    found = [one for one in target.messages("orders") if one.partition == 1]
    assert rows(found) == rows(expected)


def test_a_bad_line_that_nobody_noticed_before_ends_it_behind_what_is_whole(
    folder: Path, target: InMemoryQueue
) -> None:
    path = file_of(folder, "orders", 0)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[3].replace(b'"offset":3', b'"offset":x')
    path.write_bytes(b"".join([*lines[:3], damaged, *lines[4:]]))
    place = Folder(folder)
    plan = place.plan()
    assert plan is not None
    said = plan.files[place.name_of(path)]
    said.crc32, said.bytes = zlib.crc32(path.read_bytes()), path.stat().st_size
    place.store(plan)
    with pytest.raises(DamagedExport, match=r"00000\.jsonl, line 4"):
        run(folder, target)
    assert len(target.messages("orders")) == 3


def test_an_export_that_is_not_complete_is_refused(
    source: InMemoryQueue, tmp_path: Path, target: InMemoryQueue
) -> None:
    for _ in export(tmp_path, source.address, ExportOptions()):
        break
    with pytest.raises(DamagedExport, match="no complete export"):
        run(tmp_path, target)
    with pytest.raises(DamagedExport, match="no complete export"):
        run(tmp_path / "nothing", target)


def test_each_message_says_where_it_was(folder: Path, target: InMemoryQueue) -> None:
    run(folder, target)
    plan = Folder(folder).plan()
    assert plan is not None
    (bill,) = target.messages("bills")
    assert bill.headers == {COPIED_FROM: f"{plan.name}/bills/0/0"}


def test_compressed_files_are_read_and_their_damage_is_told(
    source: InMemoryQueue, tmp_path: Path, target: InMemoryQueue
) -> None:
    for _ in export(tmp_path, source.address, ExportOptions(compressed=True)):
        pass
    path = Folder(tmp_path).file_of("bills", 0, compressed=True)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedExport, match="bytes"):
        run(tmp_path, target)
    imported = run(tmp_path, target, ImportOptions(skip_bad=True))
    assert imported.bad == 1
    assert rows(target.messages("orders")) == rows(source.messages("orders"))
