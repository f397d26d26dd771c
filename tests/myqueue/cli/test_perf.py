from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from myqueue.cli.main import main
from myqueue.testing.queue import InMemoryQueue


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"logs": 2}) as queue:
        yield queue


def perf(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[str, Any]:
    assert main(["perf", *arguments, "--json", "--address", queue.address]) == 0
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


@pytest.mark.parametrize("threads", [[], ["--threads", "3"]])
def test_what_was_sent_is_there(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], threads: list[str]
) -> None:
    figures = perf(queue, capsys, "produce", "logs", "--messages", "500", "--size", "10", *threads)
    assert figures["messages"] == 500
    assert figures["messages_per_s"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert queue.values("logs") == [b"x" * 10] * 501


@pytest.mark.parametrize("way", [[], ["--pop"]])
def test_what_is_stored_is_read(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], way: list[str]
) -> None:
    perf(queue, capsys, "produce", "logs", "--messages", "100")
    assert perf(queue, capsys, "consume", "logs", "--messages", "80", *way)["messages"] >= 80
    assert main(["perf", "consume", "logs", *way, "--address", queue.address]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "MESSAGES\t101"
    assert captured.err == "only 101 messages are stored\n"


def test_a_failure_of_a_thread_is_the_commands(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["perf", "produce", "b d", "--threads", "2", "--address", "memory://no"]) == 1
    assert "BROKER_UNREACHABLE" in capsys.readouterr().err
