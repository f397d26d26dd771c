"""Programs made of `/schema` by other people's tools work, and find nothing that it leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests.cluster.processes import ROOT, Cluster, inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.cluster

COMMANDS = Path(sysconfig.get_path("scripts"))
EXAMPLES = 3
"""Random calls of each kind for each operation; OPENAPI_EXAMPLES=100 for a thorough search."""
SEED = 20_261_129
LENIENT = "positive_data_acceptance,negative_data_rejection"
"""Checks that do not hold: a schema does not say that two fields exclude each other, nor that
1.0 is no whole number; and a query may leave a field empty or repeat its value."""
NEEDS_NO_PROGRAM = "/"
"""For browsers: an answer in HTML."""
PROGRAM = """
import sys
from queue_manager_client import AuthenticatedClient, Client
from queue_manager_client.api.clients import consumer_register_post, producer_register_post
from queue_manager_client.api.messages import consumer_consume_get, producer_produce_post
from queue_manager_client.models import ConsumerRegister, Produce, ProducerRegister

def client(token):
    return AuthenticatedClient(base_url=sys.argv[1], token=token)

topic, nobody = "generated", Client(base_url=sys.argv[1])
producer = producer_register_post.sync(client=nobody, body=ProducerRegister(topic=topic))
produced = producer_produce_post.sync(
    client=client(producer.token),
    body=Produce(topic=topic, producer_id=producer.producer_id, message="hello", request_id="1"),
)
consumer = consumer_register_post.sync(client=nobody, body=ConsumerRegister(topic=topic))
popped = consumer_consume_get.sync(
    client=client(consumer.token), topic=topic, consumer_id=consumer.consumer_id, wait_ms=5000
)
print(produced.status, popped.message)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster of this file's own: random calls also remove brokers."""
    with Cluster(tmp_path_factory.mktemp("cluster") / "data") as made:
        yield made


def test_generated_client_produces_and_consumes(cluster: Cluster, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    answer = requests.get(
        f"{cluster.manager}/schema", headers={"Accept": "application/json"}, timeout=30
    )
    schema.write_bytes(answer.content)
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    subprocess.run(
        [
            *(COMMANDS / "openapi-python-client", "generate", "--path", schema),
            *("--config", tmp_path / "config.yml", "--output-path", tmp_path / "client"),
        ],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, cluster.manager],
        cwd=tmp_path / "client",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "success hello\n"


@pytest.mark.parametrize("role", ["manager", "broker"])
def test_random_calls_are_answered_as_described(
    cluster: Cluster, role: str, tmp_path: Path
) -> None:
    addresses = {"manager": cluster.manager, "broker": cluster.broker_addresses()[0]}
    examples = os.environ.get("OPENAPI_EXAMPLES", str(EXAMPLES))
    done = subprocess.run(
        [
            *(COMMANDS / "schemathesis", "run", f"{addresses[role]}/schema"),
            *("-H", "Accept: application/json", "--exclude-path", NEEDS_NO_PROGRAM),
            *("--phases", "examples,fuzzing", "--max-examples", examples, "--seed", str(SEED)),
            *("--exclude-checks", LENIENT, "--generation-database", "none", "--no-color"),
            *("--request-timeout", "60"),
        ],
        cwd=tmp_path,
        env={**inherited(), "SCHEMATHESIS_HOOKS": "schemathesis_hooks"}
        | {"PYTHONPATH": str(ROOT / "tests" / "cluster")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
