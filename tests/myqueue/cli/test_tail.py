from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from myqueue import Producer, Record
from myqueue.cli.main import main
from myqueue.testing.queue import InMemoryQueue


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"logs": 2}) as queue:
        with Producer("logs", queue.address) as producer:
            for number in range(20):
                record = Record(f"{number}", timestamp=1_000 + number)
                producer.produce_many("logs", [record], partition=number % 2)
        yield queue


def tail(queue: InMemoryQueue, capfd: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["tail", "logs", "--address", queue.address, *arguments]) == 0
    return capfd.readouterr().out.splitlines()


def test_the_last_messages_of_all_partitions_are_in_order(
    queue: InMemoryQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    assert tail(queue, capfd) == [f"{number}" for number in range(10, 20)]
    assert tail(queue, capfd, "-n", "3") == ["17", "18", "19"]
    assert len(tail(queue, capfd, "-n", "100")) == 20
    (last,) = tail(queue, capfd, "-n", "1", "--json")
    assert json.loads(last)["message"] == "19"


def test_nothing_stays_registered(queue: InMemoryQueue, capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(queue._api.state.clients)
    tail(queue, capfd)
    assert queue._api.state.clients == before


def test_following_goes_on_with_new_messages(
    queue: InMemoryQueue,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from myqueue.cli import tail as cli_tail

    printed: list[list[str]] = []

    def print_messages(messages: list[object], _: object) -> None:
        printed.append([str(one) for one in messages])
        if len(printed) == 1:
            with Producer("logs", queue.address) as producer:
                producer.enqueue("logs", "new", partition=1)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_tail, "print_messages", print_messages)
    assert main(["tail", "logs", "-n", "1", "-f", "--address", queue.address]) == 130
    assert printed == [["19"], ["new"]]


def test_an_empty_topic_has_no_last_messages(capfd: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 2}) as queue:
        assert tail(queue, capfd) == []
