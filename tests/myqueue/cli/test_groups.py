from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from myqueue import Consumer, Producer
from myqueue.cli.main import main
from myqueue.testing.queue import InMemoryQueue


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


def test_groups_are_listed_shown_and_deleted(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--address", queue.address)
    assert run(capsys, "groups", *at) == []
    with Consumer("logs", queue.address, group="g") as consumer:
        consumer.poll(2)
        consumer.commit()
        assert run(capsys, "groups", *at) == [["g"]]
        assert run(capsys, "groups", "--json", *at) == [['["g"]']]
        rows = run(capsys, "groups", "g", *at)
        assert rows[0] == ["GENERATION", "1"]
        assert rows[3][1] == "logs/0,logs/1"
        me = rows[3][0]
        assert rows[-1] == ["logs", "1", me, "2", "3", "1", "0"]
        (told,) = run(capsys, "groups", "g", "--json", *at)
        assert json.loads(told[0])["group"] == "g"
        assert main(["groups", "g", "--delete", *at]) == 1
    assert main(["groups", "g", "--delete", *at]) == 0
    assert main(["groups", "g", *at]) == 1


def test_lag_of_a_group(queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--address", queue.address)
    with Consumer("logs", queue.address, group="g") as consumer:
        consumer.poll(1, partition=1)
        consumer.commit()
        rows = run(capsys, "lag", "--group", "g", *at)
        assert rows[0] == ["TOPIC", "PARTITION", "OFFSET", "HIGH_WATERMARK", "MESSAGES"]
        assert rows[2] == ["logs", "1", "1", "3", "2"]
        assert len(run(capsys, "lag", "other", "--group", "g", *at)) == 1
        last = run(capsys, "lag", "logs", "--group", "g", "--json", *at)[-1]
        assert json.loads(last[0])["messages"] == 2
