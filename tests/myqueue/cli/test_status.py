from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from typing import Any

import pytest

from myqueue import Client, Consumer, Producer
from myqueue.cli import status as cli_status
from myqueue.cli.main import main
from myqueue.cli.status import ClusterStatus, chosen, lines_of, look
from myqueue.contract.errors import NoLeader
from myqueue.testing.queue import InMemoryQueue
from tests.myqueue.http_twin import HttpCluster


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the tables of a pipe by their first heading."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    rows = [[line.split("\t") for line in block] for block in blocks]
    return {block[0][0]: block[1:] for block in rows}


def test_without_a_terminal_it_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 2, "events": 1}) as queue:
        with Consumer("logs", queue.address, group="g"):
            assert main(["status", "--address", queue.address]) == 0
        found = tables(capsys.readouterr().out)
    assert list(found) == ["STATE", "BROKER_ID", "GROUP", "TOPIC"]
    assert found["STATE"] == []
    assert found["BROKER_ID"][0][2] == "alive"
    assert found["GROUP"][0][0] == "g"
    partitions = [row[:2] for row in found["TOPIC"]]
    assert partitions == [["events", "0"], ["logs", "0"], ["logs", "1"]]
    assert found["TOPIC"][0][3] == found["BROKER_ID"][0][1]


def test_topics_are_chosen_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    with InMemoryQueue({"logs": 1, "events": 1}) as queue:
        assert main(["status", "--topic", "l*", "--json", "--address", queue.address]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["problems", "brokers", "groups", "partitions"]
    assert [row["topic"] for row in told["partitions"]] == ["logs"]


def speed(status: ClusterStatus) -> tuple[int, int | None]:
    (row,) = status.partitions
    return row["messages"], row["per_second"]


def test_the_speed_is_what_came_since() -> None:
    with InMemoryQueue({"logs": 1}) as queue, Client(queue.address) as client:
        before = look(client)
        assert speed(before) == (0, None)
        with Producer("logs", queue.address) as producer:
            producer.produce_many("logs", ["x"] * 30, partition=0)
        assert speed(look(client, before=before, seconds=2.0)) == (30, 15)


def partition(topic: str, number: int, condition: str = "healthy", **more: Any) -> dict[str, Any]:
    return {"topic": topic, "partition": number, "condition": condition, "messages": 0, **more}


SICK = ClusterStatus(
    [
        {"address": "a:1", "state": "alive", "disk_free_bytes": 5, "version": "1.1.0"},
        {"address": "b:1", "state": "dead", "version": None},
        {
            "address": "c:1",
            "state": "alive, draining",
            "disk_free_bytes": 1 << 40,
            "version": "1.0.0",
        },
    ],
    [{"group": "g", "lag": 5}],
    [
        partition("logs", 0, messages=1, per_second=5),
        partition("logs", 1, "degraded", down=["b:1 (dead)"], messages=9),
        partition("jobs", 0, "degraded"),
        partition("jobs", 1, "no leader", per_second=1),
    ],
    {},
)


def test_problems_come_first_and_the_worst_of_them_before() -> None:
    assert [(row["state"], row["problem"]) for row in SICK.problems] == [
        ("dead", "broker b:1"),
        ("no leader", "1 partition, first jobs/1"),
        ("disk low", "broker a:1"),
        ("alive, draining", "broker c:1"),
        ("mixed versions", "brokers run 1.0.0, 1.1.0"),
        ("degraded", "2 partitions, first logs/1"),
    ]
    lines = lines_of(SICK, "condition", problems=False)
    assert "STATE" in lines[0]
    assert "dead" in lines[1]
    assert any("b:1 (dead)" in line for line in lines)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("condition", ["jobs/0", "jobs/1", "logs/1", "logs/0"]),
        ("topic", ["jobs/0", "jobs/1", "logs/0", "logs/1"]),
        ("messages", ["logs/1", "logs/0", "jobs/0", "jobs/1"]),
        ("per_second", ["logs/0", "jobs/1", "jobs/0", "logs/1"]),
    ],
)
def test_partitions_have_an_order(sort: str, order: list[str]) -> None:
    rows = [{"per_second": None, **row} for row in SICK.partitions]
    assert [f"{row['topic']}/{row['partition']}" for row in chosen(rows, sort)] == order
    healthy = {"logs/0"}
    alone = [f"{row['topic']}/{row['partition']}" for row in chosen(rows, sort, problems=True)]
    assert alone == [place for place in order if place not in healthy]


class Keys:
    """A screen whose keys are those of the test; an empty one is a pause."""

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)
        self.frames: list[tuple[list[str], str]] = []

    def __enter__(self) -> Keys:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def draw(self, lines: list[str], footer: str) -> None:
        self.frames.append((lines, footer))

    def key(self, timeout_s: float) -> str:
        assert 0 <= timeout_s <= 2
        key = self.keys.pop(0)
        if key == "ctrl-c":
            raise KeyboardInterrupt
        return key

    def scroll(self, key: str) -> None:
        self.frames.append(([], key))


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_status, "on_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_terminal_is_drawn_anew_until_it_is_interrupted(
    live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys("", "", "s", "down", "ctrl-c")
    looks: list[object] = []

    def failing(*args: Any, **options: Any) -> ClusterStatus:
        looks.append(args)
        if len(looks) == 2:
            raise NoLeader("elects")
        return look(*args, **options)

    monkeypatch.setattr(cli_status, "Screen", lambda: keys)
    monkeypatch.setattr(cli_status, "look", failing)
    with InMemoryQueue({"logs": 1}) as queue:
        assert main(["status", "--interval", "2", "--address", queue.address]) == 130
    footers = [footer for _, footer in keys.frames]
    assert footers[0].startswith("sorted by condition:")
    assert footers[1] == "NO_LEADER: elects"
    assert footers[3].startswith("sorted by topic:")
    assert footers[4] == "down"
    assert any("PARTITION" in line for line in keys.frames[0][0])


def test_keys_choose_and_end(live: None, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys("p", "q")
    monkeypatch.setattr(cli_status, "Screen", lambda: keys)
    monkeypatch.setattr(cli_status, "look", lambda *_: SICK)
    with InMemoryQueue({"logs": 1}) as queue:
        assert main(["status", "--address", queue.address]) == 0
    first, second = ("\n".join(lines) for lines, _ in keys.frames)
    assert "healthy" in first
    assert "healthy" not in second.replace("no healthy", "")


def test_a_real_terminal_is_drawn_on_and_given_back(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("logs", 1)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "myqueue.cli", "status", "--address", http_cluster.address]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        before = termios.tcgetattr(theirs)
        drawn = b""
        while b"q ends" not in drawn:
            drawn += os.read(ours, 4096)
        assert b"CONDITION" in drawn
        os.write(ours, b"q")
        while b"\033[?1049l" not in drawn:
            drawn += os.read(ours, 4096)
        assert process.wait(30) == 0
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
