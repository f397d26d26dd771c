from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import pytest

from myqueue import Consumer, Producer, Worker
from myqueue.cli.main import main
from myqueue.testing.queue import InMemoryQueue
from myqueue.transport.administration import Administration


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"logs": 2}) as queue, Producer("logs", queue.address) as producer:
        producer.produce_many("logs", ["a", "b", "c"], partition=1)
        yield queue


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    assert main(arguments) == 0
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_consume_goes_on_where_the_group_was(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    read = ("consume", "logs", "--group", "g", "--from-beginning", "--address", queue.address)
    assert run(capsys, *read, "--max-messages", "2") == [["a"], ["b"]]
    assert run(capsys, *read) == [["c"]]
    assert run(capsys, *read) == []


@pytest.mark.parametrize("where", [[], ["--offset", "earliest"]])
def test_a_new_group_begins_where_that_of_the_library_does(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], where: list[str]
) -> None:
    read = ("consume", "logs", "--group", "g", "-n", "3", "--address", queue.address)
    assert run(capsys, *read, *where) == [["a"], ["b"], ["c"]]


def test_a_new_group_may_begin_with_what_is_new(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    over = threading.Event()

    def go_on() -> None:
        with Producer("logs", queue.address) as producer:
            while not over.wait(0.05):
                producer.enqueue("logs", "new", partition=1)

    thread = threading.Thread(target=go_on)
    thread.start()
    read = ("consume", "logs", "--group", "g", "-n", "1", "--address", queue.address)
    try:
        assert run(capsys, *read, "--offset", "latest") == [["new"]]
    finally:
        over.set()
        thread.join()


def test_groups_are_listed_shown_and_deleted(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--address", queue.address)
    assert len(run(capsys, "groups", *at)) == 1
    with Consumer("logs", queue.address, group="g") as consumer:
        consumer.poll(2)
        consumer.commit()
        assert run(capsys, "groups", *at)[1][:3] == ["g", "consumers", "1"]
        rows = run(capsys, "groups", "g", *at)
        assert rows == run(capsys, "groups", "describe", "g", *at)
        assert rows[:3] == [["GROUP", "g"], ["KIND", "consumers"], ["GENERATION", "1"]]
        assert rows[5][1] == "logs/0,logs/1"
        me = rows[5][0]
        assert rows[-1] == ["logs", "1", me, "2", "3", "1", "0"]
        (told,) = run(capsys, "groups", "g", "--json", *at)
        assert json.loads(told[0])["group"] == "g"
        assert main(["groups", "delete", "g", "--yes", *at]) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["groups", "g", "--delete", *at])
    assert main(["groups", "g", "--delete", "--yes", *at]) == 0
    assert main(["groups", "g", *at]) == 1


def test_the_long_list_says_how_far_groups_of_both_kinds_are(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--address", queue.address)
    with (
        Consumer("logs", queue.address, group="g") as consumer,
        Worker("logs", queue.address, "w") as worker,
    ):
        consumer.poll(1, partition=1)
        consumer.commit()
        [delivery] = worker.receive(1)
        rows = run(capsys, "groups", "--long", *at)
        assert rows[0][:6] == ["GROUP", "KIND", "MEMBERS", "TOPICS", "LAG", "AGE_MS"]
        assert rows[0][6:] == ["VISIBLE", "IN_FLIGHT", "DELAYED", "DEAD"]
        readers, workers = rows[1:]
        assert readers[:4] == ["g", "consumers", "1", "logs"]
        assert workers[:5] == ["w", "workers", "0", "logs", "3"]
        assert workers[6:] == ["2", "1", "0", "0"]
        worker.nack(delivery, delay=60)
        told = run(capsys, "groups", "--long", "--json", *at)
        row = json.loads(told[1][0])
        assert (row["visible"], row["in_flight"], row["delayed"]) == (2, 0, 1)


def test_lag_of_a_group(queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--address", queue.address)
    with Consumer("logs", queue.address, group="g") as consumer:
        consumer.poll(1, partition=1)
        consumer.commit()
        rows = run(capsys, "lag", "--group", "g", *at)
        head = ["TOPIC", "PARTITION", "OFFSET", "HIGH_WATERMARK", "LAG", "AGE_MS"]
        assert rows[0] == head
        assert rows[2][:-1] == ["logs", "1", "1", "3", "2"]
        assert 0 <= int(rows[2][-1]) < 600_000
        assert len(run(capsys, "lag", "other", "--group", "g", *at)) == 1
        last = run(capsys, "lag", "logs", "--group", "g", "--json", *at)[-1]
        assert json.loads(last[0])["lag"] == 2


def test_a_group_is_reset(queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--address", queue.address)
    reset = ("groups", "reset", "g", "logs")
    with Consumer("logs", queue.address, group="g") as consumer:
        assert len(consumer.poll(3, timeout=10, partition=1)) == 3
        consumer.commit()
        assert main([*reset, "--to", "earliest", *at]) == 1
        assert "GROUP_ACTIVE" in capsys.readouterr().err
    rows = run(capsys, *reset, "--shift", "-2", "--dry-run", *at)
    assert rows[0] == ["PARTITION", "BEFORE", "AFTER", "MOVED", "REASON"]
    assert rows[2][:4] == ["1", "3", "1", "false"]
    assert run(capsys, *reset, "--to-offset", "2", *at)[2][:4] == ["1", "3", "2", "true"]
    (row,) = run(capsys, *reset, "--to", "earliest", "--partitions", "1", "--json", *at)
    assert json.loads(row[0]) == {
        "partition": 1,
        "before": 2,
        "after": 0,
        "moved": True,
        "reason": None,
    }
    assert run(capsys, *reset, "--to-time", "1d", "--force", *at)[2][:4] == ["1", "0", "0", "true"]
    for wrong in ((), ("--to", "earliest", "--shift", "1"), ("--to-offset", "-1")):
        with pytest.raises(SystemExit, match="2"):
            main([*reset, *wrong, *at])


def test_a_reset_that_failed_in_places_is_shown_and_is_an_error(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"partition": 0, "before": 3, "after": 0, "moved": True},
        {"partition": 1, "before": 3, "after": 0, "moved": None, "reason": "COMMIT_TIMEOUT: late"},
        {"partition": 2, "before": None, "after": 0, "moved": False, "reason": "DISK_FULL: full"},
    ]
    answer = {"status": "success", "group": "g", "partitions": rows}
    monkeypatch.setattr(Administration, "_call", lambda *_, **__: answer)
    assert main(["groups", "reset", "g", "logs", "--to", "earliest"]) == 1
    said = capsys.readouterr()
    assert [line.split("\t")[3] for line in said.out.splitlines()[1:]] == ["true", "-", "false"]
    assert "logs/1: COMMIT_TIMEOUT: late; logs/2: DISK_FULL: full" in said.err


def test_a_group_may_be_called_reset(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYQUEUE_ADDRESS", queue.address)
    with Consumer("logs", queue.address, group="reset") as consumer:
        consumer.poll(1)
        assert run(capsys, "groups", "describe", "reset")[0] == ["GROUP", "reset"]


class People(io.StringIO):
    """An input at which somebody sits."""

    def isatty(self) -> bool:
        return True


def test_people_see_where_a_group_goes_before_it_does(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--address", queue.address)
    with Consumer("logs", queue.address, group="g") as consumer:
        consumer.poll(3)
        consumer.commit()
    reset = ["groups", "reset", "g", "logs", "--to", "earliest", "--partitions", "1", *at]

    def offset() -> str:
        return run(capsys, "groups", "g", *at)[-1][3]

    monkeypatch.setattr("sys.stdin", People("n\n"))
    with pytest.raises(SystemExit, match="1"):
        main(reset)
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].split("\t") == ["1", "3", "0", "false", "-"]
    assert "Move group g in topic logs so? [y/N]" in said.err
    assert offset() == "3"
    assert run(capsys, *reset, "--dry-run")[-1] == ["1", "3", "0", "false", "-"]
    monkeypatch.setattr("sys.stdin", People("y\n"))
    assert run(capsys, *reset)[-1] == ["1", "3", "0", "true", "-"]
    assert offset() == "0"
    monkeypatch.setattr("sys.stdin", People(""))
    assert run(capsys, *reset, "--yes")[-1][:3] == ["1", "0", "0"]
