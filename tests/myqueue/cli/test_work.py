from __future__ import annotations

import sys
from pathlib import Path

import pytest

from myqueue import Worker
from myqueue.cli import work as cli_work
from myqueue.cli.main import main
from myqueue.contract.errors import QueueError
from myqueue.testing.queue import InMemoryQueue

SCRIPT = """
import os, sys
text = sys.stdin.read()
with open(sys.argv[1], "a") as file:
    file.write(text + " " + os.environ["MYQUEUE_DELIVERY_COUNT"] + os.linesep)
sys.exit(3 if text == "bad" else 0)
"""


def run(queue: InMemoryQueue, *arguments: str) -> int:
    command, *rest = arguments
    return main([command, "--address", queue.address, *rest])


def test_a_command_handles_each_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = tmp_path / "seen"
    with InMemoryQueue({"jobs": 1}) as queue:
        queue._api.state.topics["jobs"][0].put("good", "bad", b"more")
        work = ["work", "jobs", "--group", "g", "--until-empty", "--delivery-limit", "2"]
        command = ["--", sys.executable, "-c", SCRIPT, str(seen)]
        assert run(queue, *work, *command) == 0
        assert seen.read_text().splitlines() == ["good 1", "bad 1", "bad 2", "more 1"]
        assert capsys.readouterr().err == "myqueue: jobs/0/1: exit status 3\n" * 2
        assert queue.values("jobs.dead") == ["bad"]
        assert run(queue, "redrive", "jobs") == 0
        assert capsys.readouterr().out == "1 message came back\n"
        assert run(queue, "redrive", "jobs", "--quiet") == 0
        assert capsys.readouterr().out == ""
        assert run(queue, *work, "--max-messages", "1", "--delay", "60", *command) == 0
        assert queue.values("jobs")[-1] == "bad"


def test_a_message_is_kept_while_its_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_work, "EXTENSIONS_PER_VISIBILITY", 10)
    with InMemoryQueue({"jobs": 1}) as queue:
        queue._api.state.topics["jobs"][0].put("x")
        paths = []
        handle = queue.handle
        monkeypatch.setattr(
            queue, "handle", lambda *call: paths.append(call[1].path) or handle(*call)
        )
        slow = [sys.executable, "-c", "import time; time.sleep(1.3)"]
        work = ["work", "jobs", "--group", "g", "--visibility", "1", "--until-empty", "--"]
        assert run(queue, *work, *slow) == 0
        assert "/messages/extend" in paths
        assert paths.count("/messages/ack") == 1


def test_a_command_that_cannot_be_started_gives_the_message_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with InMemoryQueue({"jobs": 1}) as queue:
        queue._api.state.topics["jobs"][0].put("x")
        assert run(queue, "work", "jobs", "--group", "g", "--", "/no/such/command") == 1
        assert "/no/such/command" in capsys.readouterr().err
        with Worker("jobs", queue.address, "g") as worker:
            assert [one.delivery_count for one in worker.receive(timeout=0)] == [2]


def test_a_long_message_waits_for_a_command_that_reads_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli_work, "EXTENSIONS_PER_VISIBILITY", 20)
    late = (
        "import signal, sys, time; signal.alarm(10); time.sleep(0.3);"
        "sys.exit(sys.stdin.buffer.read() != b'x' * 200_000)"
    )
    with InMemoryQueue({"jobs": 1}) as queue:
        queue._api.state.topics["jobs"][0].put(b"x" * 200_000)
        work = ["work", "jobs", "--group", "g", "--visibility", "1", "--max-messages", "1", "--"]
        assert run(queue, *work, sys.executable, "-c", late) == 0
        with Worker("jobs", queue.address, "g") as worker:
            assert worker.receive(timeout=0) == []


def test_a_command_is_ended_when_its_message_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*call: object) -> None:
        raise QueueError("another worker has it")

    monkeypatch.setattr(cli_work, "EXTENSIONS_PER_VISIBILITY", 20)
    monkeypatch.setattr(Worker, "extend", lost)
    late = "import pathlib, sys, time; time.sleep(2); pathlib.Path(sys.argv[1]).touch()"
    with InMemoryQueue({"jobs": 1}) as queue:
        queue._api.state.topics["jobs"][0].put("x")
        work = ["work", "jobs", "--group", "g", "--visibility", "1", "--"]
        assert run(queue, *work, sys.executable, "-c", late, str(tmp_path / "end")) == 1
    assert not (tmp_path / "end").exists()
