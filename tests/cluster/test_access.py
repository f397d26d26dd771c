"""A cluster that asks who calls: programs with API tokens, and what becomes of revoked ones."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import requests

from myqueue import Consumer, Producer
from myqueue.client import Client
from myqueue.contract.errors import Forbidden, UnauthorizedException
from tests.cluster.processes import ROOT, Cluster, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.cluster

SIGN_SECONDS = 2
TOLD_SECONDS = 60.0
"""By then a broker was told for certain: many times the second of a poll and a sign of life."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    variables = {"QUEUE_AUTH": "required", "QUEUE_BROKER_SIGN_S": str(SIGN_SECONDS)}
    directory = tmp_path_factory.mktemp("access") / "data"
    with Cluster(directory, brokers=1, variables=variables) as cluster:
        yield cluster


def manage(cluster: Cluster, *arguments: str) -> str:
    """Run `manage.py token` beside the cluster and return what it prints."""
    directory: Path = cluster.data_dir / "manager"
    done = subprocess.run(
        [sys.executable, "manage.py", "token", *arguments],
        cwd=ROOT,
        env={**inherited(), "QUEUE_DATA_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def taken(cluster: Cluster, token: str) -> Client:
    """Return a client of the manager, which has seen the token by then."""
    client = Client(f"http://127.0.0.1:{cluster.port}", token=token)
    end_s = time.monotonic() + TOLD_SECONDS
    while True:
        try:
            client.list_brokers()
        except UnauthorizedException:
            assert time.monotonic() < end_s
            time.sleep(0.1)
        else:
            return client


def produce_while_it_may(producer: Producer) -> None:
    """Produce until that is refused, or a broker should have been told for long."""
    end_s = time.monotonic() + TOLD_SECONDS
    while time.monotonic() < end_s:
        producer.enqueue("logs", "while it may")


def test_programs_show_tokens_and_brokers_learn_of_a_revocation(
    cluster: Cluster, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{cluster.port}"
    admin = manage(cluster, "create", "admin", "--owner", "admin", "--role", "administrator")
    rights = ["--right", "logs:produce,consume", "--role", "viewer"]
    program = manage(cluster, "create", "program", "--owner", "admin", *rights)
    with taken(cluster, admin) as client:
        client.create_topic("logs", 1, replication_factor=1)
        client.create_topic("other", 1, replication_factor=1)
    taken(cluster, program).close()
    for topic, token, error in (
        ("logs", "", UnauthorizedException),
        ("logs", "qs_unknown", UnauthorizedException),
        ("other", program, Forbidden),
        ("logs", admin, Forbidden),
    ):
        with pytest.raises(error):
            Producer(topic, address, token=token)
    with (
        Producer("logs", address, token=program) as producer,
        Consumer("logs", address, token=program) as consumer,
    ):
        producer.enqueue("logs", "first")
        assert consumer.dequeue("logs") == "first"
        (tmp_path / "token").write_text(program)
        listed = subprocess.run(
            [
                *(sys.executable, "-m", "myqueue.cli.main", "topics"),
                *("--address", address, "--token-file", str(tmp_path / "token")),
            ],
            env=inherited(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "logs" in listed.stdout
        broker = f"http://127.0.0.1:{int(cluster.port) + 1}"
        bearer = {"Authorization": f"Bearer {program}"}
        metrics = f"{broker}/metrics"
        assert requests.get(metrics, headers=bearer, timeout=30).status_code == 200
        assert requests.get(metrics, timeout=30).status_code == 401
        manage(cluster, "revoke", "program")
        with pytest.raises(UnauthorizedException):
            produce_while_it_may(producer)
        assert requests.get(metrics, headers=bearer, timeout=30).status_code == 401
    logs = "".join(one.read_text() for one in (cluster.data_dir / "logs").iterdir())
    for secret in (program, admin):
        assert secret not in logs
