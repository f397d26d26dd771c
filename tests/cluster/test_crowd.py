"""A crowd of idle, slow and withholding connections beside one client that behaves."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from benchmarks.process_figures import resident_mb
from tests.cluster.processes import Cluster, wait_until
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster
CROWD = 500 if MANY else 60
WITHHOLDING = 100 if MANY else 20
BODY_BYTES = 8_000_000
SERVED_S = 10 if MANY else 3
SPARE = 50
"""Descriptors that a broker may open more than it has."""
GROWTH_MB = 200
"""What a broker may take more than before: 128 MiB of bodies, answers, and the connections."""
VARIABLES = {"QUEUE_SLOW_WINDOW_S": "4", "QUEUE_IDLE_CONNECTION_S": "6"}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster whose patience is short."""
    directory = tmp_path_factory.mktemp("crowd") / "data"
    with Cluster(directory, brokers=1, variables=VARIABLES) as cluster:
        made = cluster.post("/topics", topic="logs", number_of_partitions=1, replication_factor=1)
        assert made["http_status"] == 201, made
        yield cluster


class Good:
    """A client that produces a message at a time at the leader."""

    def __init__(self, cluster: Cluster) -> None:
        self.leader = cluster.leader_of("logs", 0)
        known = cluster.post("/producer/register", topic="logs")
        self.token, self.producer_id = known["token"], known["producer_id"]
        self.http = requests.Session()

    def served(self, seconds: float) -> list[float]:
        """Produce for a time; return how long each answer took, in milliseconds."""
        taken = []
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            answer = self.http.post(
                f"{self.leader}/producer/produce",
                json={
                    "topic": "logs",
                    "partition": 0,
                    "producer_id": self.producer_id,
                    "message": "x",
                },
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=10,
            )
            assert answer.status_code == 200, answer.text
            taken.append((time.monotonic() - begun) * 1000)
        return taken


def connection(address: str) -> socket.socket:
    """Open a connection."""
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def is_closed(one: socket.socket) -> bool:
    """Tell whether the server has closed a connection; what it sent first is read."""
    one.setblocking(False)
    try:
        while data := one.recv(1 << 20):
            del data
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def tell(what: str, taken: list[float], before_mb: float, peak_mb: float) -> None:
    """Print what was measured."""
    cuts = quantiles(taken, n=100)
    print(  # noqa: T201 - the figures of the documentation
        f"\n{what}: {len(taken)} answers, p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms;"
        f" broker {before_mb:.0f} to {peak_mb:.0f} MB"
    )


def test_who_behaves_is_served_beside_a_thousand_idle_and_slow(crowded: Cluster) -> None:
    good = Good(crowded)
    pid = crowded.pid_of(good.leader)
    before_mb = resident_mb(pid)
    tell("alone", good.served(3), before_mb, resident_mb(pid))
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connection(good.leader)) for _ in range(2 * CROWD)]
        for one in crowd[:CROWD]:
            one.sendall(b"POST /producer/produce HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n")
        taken = good.served(SERVED_S)
        tell(f"beside {CROWD} idle and {CROWD} slow", taken, before_mb, resident_mb(pid))
        wait_until(lambda: all(map(is_closed, crowd)), what="all of the crowd is cut off")
    assert resident_mb(pid) < before_mb + GROWTH_MB


def test_who_withholds_the_end_of_a_body_is_cut_off_and_gets_its_share_alone(
    crowded: Cluster,
) -> None:
    good = Good(crowded)
    pid = crowded.pid_of(good.leader)
    before_mb = resident_mb(pid)
    known = crowded.post("/producer/register", topic="logs")
    query = {"topic": "logs", "partition": 0, **{name: known[name] for name in ("producer_id",)}}
    head = (
        f"POST /producer/produce?{urlencode(query)} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {known['token']}\r\nContent-Length: {BODY_BYTES}\r\n"
        "Content-Type: application/vnd.queue.batch\r\n\r\n"
    ).encode()
    with contextlib.ExitStack() as stack:
        crowd: list[socket.socket] = []
        peak_mb = before_mb
        for _ in range(WITHHOLDING):
            crowd.append(stack.enter_context(connection(good.leader)))
            with contextlib.suppress(ConnectionError):  # a slow machine: the first are cut off
                crowd[-1].sendall(head + bytes(BODY_BYTES - 10))
            peak_mb = max(peak_mb, resident_mb(pid))
        taken = good.served(SERVED_S)
        peak_mb = max(peak_mb, resident_mb(pid))
        tell(f"beside {WITHHOLDING} that withhold 10 bytes of 8 MB", taken, before_mb, peak_mb)
        wait_until(lambda: all(map(is_closed, crowd)), what="all are cut off")
    assert peak_mb < before_mb + GROWTH_MB


def test_who_behaves_is_served_when_descriptors_run_out(crowded: Cluster) -> None:
    good = Good(crowded)
    pid = crowded.pid_of(good.leader)
    good.served(0.1)
    before_mb, before = resident_mb(pid), resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + SPARE, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(connection(good.leader)) for _ in range(4 * SPARE)]
            taken = good.served(SERVED_S)
            what = f"beside {len(crowd)} idle, {SPARE} descriptors to spare"
            tell(what, taken, before_mb, resident_mb(pid))
        Good(crowded).served(0.1)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert pid == crowded.pid_of(good.leader)
    assert resident_mb(pid) < before_mb + GROWTH_MB
