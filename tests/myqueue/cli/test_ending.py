from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from myqueue import Client, Producer, Worker
from myqueue.cli.ending import orderly_end
from tests.myqueue.http_twin import HttpCluster

STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[2])))
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_signal_is_told_and_interrupts_nothing() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with orderly_end() as is_over:
            assert not is_over()
            os.kill(os.getpid(), signal.SIGTERM)
            assert is_over()
            assert seen == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(seen) == 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_changed() -> None:
    found = []

    def run() -> None:
        with orderly_end() as is_over:
            found.append((is_over(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGTERM))]


@contextmanager
def running(address: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in a process that is ended in any case."""
    command = [sys.executable, "-m", "myqueue.cli.main", *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, "MYQUEUE_ADDRESS": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Send SIGTERM; return the exit status and what was said on the error output."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_a_reader_leaves_its_group_at_sigterm(http_cluster: HttpCluster) -> None:
    http_cluster.twin.create("orders", 2)
    with (
        Producer("orders", http_cluster.address) as producer,
        Client(http_cluster.address) as client,
        running(http_cluster.address, "consume", "orders", "--group", "billing") as process,
    ):
        assert process.stdout is not None
        _wait_until(lambda: client.list_groups() == ["billing"])
        _wait_until(lambda: all(r["member_id"] for r in _rows(client)) and len(_rows(client)) == 2)
        producer.enqueue("orders", "one", partition=0)
        assert process.stdout.readline() == "one\n"
        assert len(client.describe_group("billing")["members"]) == 1
        assert ended(process) == (0, "")
        assert client.describe_group("billing")["members"] == []
        assert [row["offset"] for row in _rows(client) if row["partition"] == 0] == [1]
        assert client.list_clients("consumers") == []


@pytest.mark.parametrize(("status", "left"), [(0, 0), (3, 1)])
def test_a_worker_settles_what_it_has_in_hand_at_sigterm(
    http_cluster: HttpCluster, tmp_path: Path, status: int, left: int
) -> None:
    http_cluster.twin.create("jobs", 1)
    begun = tmp_path / "begun"
    command = [sys.executable, "-c", STUBBORN, str(begun), str(status)]
    with Producer("jobs", http_cluster.address) as producer:
        producer.enqueue("jobs", "x")
    with running(
        http_cluster.address, "work", "jobs", "--group", "g", "--delay", "60", "--", *command
    ) as process:
        _wait_until(begun.exists)
        assert ended(process) == (0, "")
    with Worker("jobs", http_cluster.address, "g") as worker:
        assert [one.delivery_count for one in worker.receive(timeout=0)] == [2] * left


def _rows(client: Client) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = client.describe_group("billing")["partitions"]
    return rows


def _wait_until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError("it never came to this")
