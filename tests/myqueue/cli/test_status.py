from __future__ import annotations

import sys

import pytest

from myqueue import Client, Producer
from myqueue.cli.main import main
from myqueue.cli.status import ClusterStatus, look
from myqueue.contract.errors import NoLeader
from myqueue.testing.queue import InMemoryQueue


def test_without_a_terminal_it_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 2, "events": 1}) as queue:
        assert main(["status", "--address", queue.address]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:3] == ["BROKER_ID", "ADDRESS", "STATE"]
    assert lines[1][2] == "alive"
    assert [line[:2] for line in lines[4:]] == [["logs", "0"], ["logs", "1"], ["events", "0"]]
    assert lines[4][3] == lines[1][1]


def speed(status: ClusterStatus) -> tuple[int, int | None]:
    (row,) = status.partitions
    return row["messages"], row["per_second"]


def test_the_speed_is_what_came_since() -> None:
    with InMemoryQueue({"logs": 1}) as queue, Client(queue.address) as client:
        before = look(client)
        assert speed(before) == (0, None)
        with Producer("logs", queue.address) as producer:
            producer.produce_many("logs", ["x"] * 30, partition=0)
        assert speed(look(client, before, 2.0)) == (30, 15)


def test_a_terminal_gets_a_table_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from myqueue.cli import status as cli_status

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    sleeps: list[float] = []
    looks: list[object] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise KeyboardInterrupt

    def failing(*args: object) -> object:
        looks.append(args)
        if len(looks) == 2:
            raise NoLeader("elects")
        return look(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cli_status.time, "sleep", sleep)
    monkeypatch.setattr(cli_status, "look", failing)
    with InMemoryQueue({"logs": 1}) as queue:
        assert main(["status", "--interval", "2", "--address", queue.address]) == 130
    assert sleeps == [2, 2, 2]
    shown = capsys.readouterr().out
    assert "PARTITION" in shown
    assert "NO_LEADER: elects" in shown
