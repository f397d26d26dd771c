"""A cluster of the version before becomes one of today's, process by process, under traffic.

Costs minutes, and needs that version's commit: `make rolling`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from myqueue import __version__
from tests.cluster.metadata_work import TOPIC
from tests.cluster.processes import ROOT, inherited, popen, wait_until
from tests.cluster.several_managers import SeveralManagers, is_ready
from tests.cluster.steady_traffic import SteadyTraffic
from tests.manager_app.postgres import required_server
from tools.old_data import COMMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.fault_cluster import ServerUnderTest

BEFORE = "0.3.0"
"""The version that today's has to work beside."""
PACKAGES = ("broker_app", "http_base", "manager_app", "myqueue", "queuesite", "raft_app")
"""Compiled once, not by six processes that start at once."""
PARTITIONS = 2
SECONDS = 120.0
"""For what has no promise on a busy machine."""

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.postgres,
    pytest.mark.timeout(1_200),
    pytest.mark.skipif(not os.environ.get("ROLLING"), reason="takes minutes: make rolling"),
]


def start(server: ServerUnderTest) -> None:
    """Start one process and wait until it answers."""
    server.launch()
    server.wait_healthy(SECONDS)


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Path]:
    """Check the version before out."""
    tree, git = tmp_path / "before", ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), COMMITS[BEFORE]], check=True)
    packages = [str(tree / name) for name in PACKAGES]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], check=True)
    yield tree
    subprocess.run([*git, "remove", "--force", str(tree)], check=True)


@pytest.fixture
def cluster(tmp_path: Path, before: Path) -> Iterator[SeveralManagers]:
    """Run three managers and three brokers of the version before."""
    with required_server() as server:
        cluster = SeveralManagers(tmp_path / "servers", server)
        for one in (*cluster.managers, *cluster.brokers):
            one.tree = before
        with ExitStack() as stack:
            stack.callback(cluster.__exit__)
            for one in (*cluster.managers, *cluster.brokers):  # in turn: one of them migrates
                start(one)
            made = requests.post(
                f"{cluster.managers[0].address}/topics",
                json={"topic": TOPIC, "number_of_partitions": PARTITIONS},
                timeout=SECONDS,
            )
            assert made.ok, made.text
            yield cluster


@contextmanager
def client_of(tree: Path, cluster: SeveralManagers, report: Path) -> Iterator[None]:
    """Have a client of that version write and read meanwhile."""
    program = [sys.executable, str(ROOT / "tests/cluster/steady_client.py")]
    process = popen(
        [*program, cluster.address, TOPIC, str(report)],
        cwd=tree,
        env={**inherited(), "PYTHONPATH": str(tree)},
    )
    try:
        yield
        assert process.poll() is None, "the earlier client ended"
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(SECONDS)
    assert status == 0


def change_version(cluster: SeveralManagers, server: ServerUnderTest, tree: Path) -> None:
    """Restart one process with another program, and wait until all is as before."""
    assert server.stop() == 0
    server.tree = tree
    start(server)
    wait_until(lambda: is_ready(server.address), what=f"{server.address} is ready", seconds=SECONDS)
    wait_until(lambda: is_whole(cluster), what="every partition is whole", seconds=SECONDS)


def is_whole(cluster: SeveralManagers) -> bool:
    """Tell whether every replica is live and every partition has a leader."""
    try:
        answer = requests.get(f"{cluster.managers[0].address}/topics/{TOPIC}", timeout=10)
    except requests.RequestException:
        return False
    partitions = answer.json().get("partitions", []) if answer.ok else []
    return len(partitions) == PARTITIONS and all(
        one["condition"] == "healthy" and all(replica["live"] for replica in one["replicas"])
        for one in partitions
    )


def versions(cluster: SeveralManagers) -> set[Any]:
    """Return what the brokers run, as a manager of today's tells."""
    answer = requests.get(f"{cluster.managers[0].address}/brokers?detail=1", timeout=10)
    return {one["version"] for one in answer.json()["brokers"]}


def test_nothing_is_lost_while_one_process_after_the_other_is_upgraded(
    cluster: SeveralManagers, before: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    with SteadyTraffic(cluster, "today's") as traffic, client_of(before, cluster, report):
        for server in cluster.brokers:
            change_version(cluster, server, ROOT)
            traffic.wait_for_all()
        # The first broker goes back once more: until all run it, one may.
        change_version(cluster, cluster.brokers[0], before)
        traffic.wait_for_all()
        change_version(cluster, cluster.brokers[0], ROOT)
        for server in cluster.managers:
            change_version(cluster, server, ROOT)
            traffic.wait_for_all()
        wait_until(lambda: versions(cluster) == {__version__}, what="all brokers tell this version")
    told = json.loads(report.read_text())
    assert set(told["read"]) <= {*traffic.acknowledged, *told["acknowledged"]}
    assert len(told["read"]) == len(set(told["read"])), "read twice"
    assert len(told["acknowledged"]) > len(cluster.brokers)
    traffic.acknowledged.update(told["acknowledged"])
    count = traffic.check()
    for one in cluster.brokers:
        assert "protocol version" not in one.log(), one.log()
        assert "faulty" not in one.log(), one.log()
    sys.stdout.write(f"{count} messages, {len(told['acknowledged'])} of them of {BEFORE}\n")
