"""A manager's tasks in ordinary Celery processes over a Redis, as the page on them says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, NoReturn, Self

import pytest
import requests

from myqueue import Consumer, Producer
from tests.cluster.processes import ROOT, popen, wait_until
from tests.cluster.rounds import MANY
from tests.cluster.terminals import BROKERS, Terminals
from tests.cluster.waited import Waited
from tests.manager_app.postgres import required_postgres
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.cluster, pytest.mark.postgres]

PAGE = ROOT / "docs/how-to/celery-workers.md"
AWAY_SECONDS = 60.0 if MANY else 3.0
"""How long Redis is gone."""
QUICK = {
    "QUEUE_BROKER_SIGN_S": "1",
    "QUEUE_BROKER_HEARTBEAT_S": "1",
    "QUEUE_SUSPECT_AFTER_S": "2",
    "QUEUE_DEAD_AFTER_S": "4",
    "QUEUE_CLUSTER_SECRET": "a secret that only this test knows",
}
"""A silence of seconds is seen as one of minutes is with the usual limits."""
RECORDED_SECONDS = 60
"""A worker tries again to reach Redis after 2 s, then 4 s and so on up to half a minute."""
STUCK = "Error on stopping Hub"
"""What a worker of Celery 5.7 says last whose connection Redis reset in the middle of a read."""
PAUSE_SECONDS = 0.02
"""Between two messages."""
GAP_SECONDS = 1.0
"""Longest pause of writing that a Redis which comes or goes may cost."""


def missing(why: str) -> NoReturn:
    """Skip, or fail where everything has to be installed."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


class Redis:
    """A server of this test that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing("no Redis: apt-get install --no-install-recommends redis-server")
        [port] = free_ports(1)
        self.url = f"redis://127.0.0.1:{port}/0"
        self._command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self._command += ["--appendonly", "no", "--dir", str(folder)]
        self._log = folder / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = popen(self._command, stdout=log, stderr=log)
        wait_until(lambda: "Ready to accept" in self._log.read_text(), what="Redis is ready")

    def kill(self) -> None:
        """End it without a word; what it held is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Parts:
    """A manager, brokers, a worker and beat, each started by hand."""

    def __init__(self, terminals: Terminals, variables: dict[str, str]) -> None:
        self.manager = terminals.manager
        self._terminals = terminals
        self._variables = variables
        self.ports = [str(terminals.base + number) for number in range(1, 1 + BROKERS)]
        self._brokers: dict[str, int] = {}

    def start(self) -> None:
        """Start all of them."""
        manager = self._terminals.start(
            "manager", QUEUE_PORT=str(self._terminals.base), **self._variables
        )
        for port in self.ports:
            self._brokers[port] = self._terminals.start("broker", QUEUE_PORT=port, **QUICK)
        for number in (manager, *self._brokers.values()):
            self._terminals.wait_ready(number)
        lines = re.findall(r"^celery -A queuesite (.+)$", PAGE.read_text(), re.MULTILINE)
        self._lines = {line.split()[0]: line for line in lines}
        assert list(self._lines) == ["worker", "beat"]
        self._celery = {name: self._start_celery(name) for name in self._lines}

    def _start_celery(self, name: str) -> int:
        return self._terminals.start_celery(*self._lines[name].split(), **self._variables)

    @property
    def is_stuck(self) -> bool:
        """Whether the worker met the error of Celery's that the page names, and works no more."""
        return STUCK in self._terminals.log(self._celery["worker"])

    def start_worker_again(self) -> None:
        """Do what the page says of a worker that is stuck."""
        self._terminals.kill(self._celery["worker"])
        self._celery["worker"] = self._start_celery("worker")

    def kill(self, port: str) -> None:
        """Kill a broker and wait until it is recorded as dead, which only a task does."""
        self._terminals.kill(self._brokers[port])
        self._wait_dead(1)

    def restart(self, port: str) -> None:
        """Start a broker again and wait until it is recorded as alive."""
        self._brokers[port] = self._terminals.start("broker", QUEUE_PORT=port, **QUICK)
        self._terminals.wait_ready(self._brokers[port])
        self._wait_dead(0)

    def _wait_dead(self, count: int) -> None:
        line = f'queue_manager_brokers{{state="dead"}} {count}.0'
        wait_until(
            lambda: line in requests.get(f"{self.manager}/metrics", timeout=40).text,
            what=f"{count} brokers are recorded as dead",
            seconds=RECORDED_SECONDS,
        )

    def waited(self) -> Waited:
        """Count from now on how long all of them wait for a processor."""
        return Waited(self._terminals.pids())

    def end(self) -> list[int]:
        """Stop the worker and beat; return their exit statuses."""
        return [self._terminals.end(number) for number in self._celery.values()]


@pytest.fixture
def postgres() -> Iterator[str]:
    with required_postgres() as url:
        yield url


def write_for(producer: Producer, seconds: float, written: list[str]) -> float:
    """Write one message after the other; return the longest time that one took."""
    longest, ends = 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        producer.enqueue("logs", value := f"message {len(written)}")
        written.append(value)
        longest = max(longest, time.monotonic() - began)
        time.sleep(PAUSE_SECONDS)
    return longest


def test_tasks_in_workers_of_their_own_go_on_after_redis_was_gone_and_nothing_else_notices(
    tmp_path: Path, postgres: str, say: Callable[[str], None]
) -> None:
    terminals = Terminals(tmp_path)
    with Redis(tmp_path) as redis:
        variables = {**QUICK, "QUEUE_DATABASE_URL": postgres, "QUEUE_CELERY_BROKER_URL": redis.url}
        parts = Parts(terminals, variables)
        try:
            parts.start()
            lose_a_broker_then_redis_then_a_broker(parts, redis, say)
            assert parts.end() == [0, 0]
        finally:
            terminals.stop()


def lose_a_broker_then_redis_then_a_broker(
    parts: Parts, redis: Redis, say: Callable[[str], None]
) -> None:
    written: list[str] = []
    with Producer("logs", parts.manager) as producer, Consumer("logs", parts.manager) as consumer:
        parts.kill(parts.ports[0])
        parts.restart(parts.ports[0])

        waited = parts.waited()
        redis.kill()
        longest = write_for(producer, AWAY_SECONDS, written)
        made = requests.post(
            f"{parts.manager}/topics", json={"topic": "made", "number_of_partitions": 1}, timeout=40
        )
        redis.start()
        if parts.is_stuck:
            say("the worker was stuck in an error of Celery's, and started again")
            parts.start_worker_again()
        longest = max(longest, write_for(producer, 1.0, written))
        for_processor = waited.seconds
        say(f"longest write with Redis gone for {AWAY_SECONDS:.0f} s: {longest * 1000:.0f} ms")
        assert made.json()["status"] == "success"
        assert longest - for_processor <= GAP_SECONDS

        parts.kill(parts.ports[0])
        read: list[str] = []
        while len(read) < len(written):
            read += [str(message.value) for message in consumer.poll(timeout=10)]
        assert sorted(read) == sorted(written)
