from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from myqueue import Client, Message, Producer
from myqueue.cli import moving
from myqueue.cli.main import main
from myqueue.moving import mirroring
from myqueue.testing.queue import InMemoryQueue


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue({"orders": 2}) as queue:
        with Producer("orders", queue.address) as producer:
            producer.produce_many("orders", [str(number) for number in range(20)])
        yield queue


def test_topics_go_out_and_come_in(
    queue: InMemoryQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "saved")
    command = ["export", folder, "--topic", "orders", "--since", "2h", "--address", queue.address]
    for _ in range(2):
        assert main(command) == 0
        assert "1 topic, 20 messages, 0 groups" in capsys.readouterr().out
    with InMemoryQueue() as target:
        assert main(["import", folder, "--address", target.address]) == 0
        assert "20 messages sent" in capsys.readouterr().out
        assert main(["import", folder, "--address", target.address]) == 0
        assert "0 messages sent, 20 were there" in capsys.readouterr().out
        assert sorted(target.values("orders"), key=int) == [str(number) for number in range(20)]
        assert main(["import", folder, "--topic", "orders", "--into", "b"]) == 1
    assert "MANAGER_NOT_FOUND" in capsys.readouterr().err


def test_an_export_goes_on_under_the_same_words_alone(
    queue: InMemoryQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", str(tmp_path), "--address", queue.address]
    assert main([*command, "--since", "2h"]) == 0
    assert main([*command, "--since", "3h"]) == 1
    assert "--since 2h" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--since", "soon"])


def test_bad_lines_are_told(
    queue: InMemoryQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path)
    assert main(["export", folder, "--address", queue.address]) == 0
    path = tmp_path / "orders" / "00000.jsonl"
    path.write_bytes(path.read_bytes() + b"no message\n")
    with InMemoryQueue() as target:
        assert main(["import", folder, "--address", target.address]) == 1
        assert "DAMAGED_EXPORT" in capsys.readouterr().err
        assert Client(target.address).list_topics() == []
        assert main(["import", folder, "--address", target.address, "--skip-bad"]) == 0
    assert "1 line left out" in capsys.readouterr().err


def test_lines_tell_how_far_it_is_where_there_is_no_terminal(
    queue: InMemoryQueue,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moving, "TELL_SECONDS", 0.0)
    assert main(["export", str(tmp_path / "a"), "--address", queue.address]) == 0
    assert "orders/1: 20 of 20 messages" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "b"), "--quiet", "--address", queue.address]) == 0
    assert capsys.readouterr().err == ""


def messages(queue: InMemoryQueue) -> list[Message]:
    return queue.messages("orders") if Client(queue.address).list_topics() else []


def test_a_mirror_ends_with_sigterm(
    queue: InMemoryQueue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(mirroring, "GLANCE_S", 0.01)
    with InMemoryQueue() as target:

        def end() -> None:
            while len(messages(target)) < 20:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        ending = threading.Thread(target=end)
        ending.start()
        assert main(["mirror", queue.address, target.address, "orders", "--all-groups"]) == 0
        ending.join()
    assert "20 copied" in capsys.readouterr().out
