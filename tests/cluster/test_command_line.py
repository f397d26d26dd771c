"""Commands that run until they are told to end, against a real cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from myqueue import Client, Producer, Worker
from tests.cluster.processes import ROOT, popen, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster

BUSY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


@pytest.fixture
def run(shared_cluster: Cluster) -> Callable[..., subprocess.Popen[str]]:
    def start(*arguments: str) -> subprocess.Popen[str]:
        return popen(
            [sys.executable, "-m", "myqueue.cli.main", *arguments],
            cwd=ROOT,
            env={**os.environ, "MYQUEUE_ADDRESS": shared_cluster.manager},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Send SIGTERM; return the exit status and what was said on the error output."""
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_sigterm_leaves_a_group_free_at_once(
    shared_cluster: Cluster, run: Callable[..., subprocess.Popen[str]]
) -> None:
    with Client(shared_cluster.manager) as client:
        client.create_topic("sigterm-orders", 1)
        with (
            Producer("sigterm-orders", shared_cluster.manager) as producer,
            run(
                "consume", "sigterm-orders", "--group", "sigterm", "--from-beginning", "--follow"
            ) as process,
        ):
            assert process.stdout is not None
            producer.enqueue("sigterm-orders", "one")
            assert process.stdout.readline() == "one\n"
            assert ended(process) == (0, "")
        described = client.describe_group("sigterm")
    assert described["members"] == []
    assert [row["offset"] for row in described["partitions"]] == [1]


def test_sigterm_gives_back_what_a_worker_has_in_hand(
    shared_cluster: Cluster, run: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with Producer("sigterm-jobs", shared_cluster.manager) as producer:
        producer.enqueue("sigterm-jobs", "x")
    busy = [sys.executable, "-c", BUSY, str(begun)]
    with run("work", "sigterm-jobs", "--group", "sigterm-workers", "--", *busy) as process:
        wait_until(begun.exists, what="the command")
        assert ended(process) == (0, "")
    with Worker("sigterm-jobs", shared_cluster.manager, "sigterm-workers") as worker:
        (again,) = worker.receive(timeout=5)
        assert (again.text, again.delivery_count) == ("x", 2)
        worker.ack(again)


def test_events_tell_what_was_done(
    shared_cluster: Cluster, run: Callable[..., subprocess.Popen[str]]
) -> None:
    with run("create", "events-told", "--partitions", "1") as process:
        assert process.wait(60) == 0
    about = ("events", "--about", "topic:events-told", "--kind", "configuration", "--json")
    with run(*about) as process:
        told, _ = process.communicate(timeout=60)
    (event,) = map(json.loads, told.splitlines())
    assert (event["action"], event["about"]) == ("topic created", ["topic:events-told"])
    assert event["outcome"] == "done"
