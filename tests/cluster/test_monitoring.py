"""What real servers tell Prometheus, and what is made of it: names, board, alert rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from myqueue import Client, Consumer, Producer, Worker
from tests.cluster.processes import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.kept import Kept
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster
TOPIC = "orders"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


def tool(name: str) -> str:
    """Return the path of a program of Debian's package prometheus."""
    found = shutil.which(name)
    if found is None:
        assert not os.environ.get("CI"), f"{name} is missing: apt-get install prometheus"
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


@pytest.fixture(scope="module")
def busy_cluster(kept_cluster: Kept[Cluster]) -> Iterator[Cluster]:
    """Give a cluster in which everything happened that is counted by topic or group."""
    with kept_cluster.lent() as cluster:
        with Client(cluster.manager) as client:
            client.create_topic(TOPIC, number_of_partitions=3)
        use(cluster.manager)
        yield cluster


def use(manager: str) -> None:
    """Produce, pop, read in a group that lags, and let a message of a worker die."""
    with Producer(TOPIC, manager) as producer:
        producer.produce_many(TOPIC, [b"x" * 100] * 60)
    with Consumer(TOPIC, manager) as consumer:
        consumer.dequeue(TOPIC)
    with Consumer(TOPIC, manager, group="billing") as member:
        assert member.poll(timeout=20) is not None
        member.commit()
    with Worker(TOPIC, manager, group="mailers", delivery_limit=1) as worker:
        worker.nack(*worker.receive(1, timeout=20))


def addresses(cluster: Cluster) -> list[str]:
    return [cluster.manager, *cluster.broker_addresses()]


def page(address: str) -> str:
    answer = requests.get(f"{address}/metrics", timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.text


def names_of(text: str) -> set[str]:
    """Return the names of the project's own metrics on a page."""
    return set(re.findall(r"^# TYPE (queue_\w+) ", text, re.MULTILINE))


def test_the_reference_has_a_row_for_each_metric_and_no_other(busy_cluster: Cluster) -> None:
    shown = set().union(*(names_of(page(address)) for address in addresses(busy_cluster)))
    listed = re.findall(r"^\| `(queue_\w+)`", REFERENCE.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == shown


def test_metrics_are_read_and_have_units_and_few_labels(busy_cluster: Cluster) -> None:
    for address in addresses(busy_cluster):
        for family in text_string_to_metric_families(page(address)):
            labels = set().union(*(sample.labels for sample in family.samples))
            assert not labels & {"partition", "group_id", "client", "message"}, family.name
            assert family.documentation, family.name


def test_prometheus_finds_nothing_wrong_with_the_metrics(busy_cluster: Cluster) -> None:
    promtool = tool("promtool")
    for address in addresses(busy_cluster):
        checked = subprocess.run(
            [promtool, "check", "metrics"],
            input=page(address),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_each_topic_and_group_shows_what_it_did(busy_cluster: Cluster) -> None:
    def figures() -> dict[str, float]:
        found: dict[str, float] = {}
        for address in addresses(busy_cluster):
            for family in text_string_to_metric_families(page(address)):
                for sample in family.samples:
                    if sample.labels.get("topic") == TOPIC:
                        name = sample.name.removeprefix("queue_").removesuffix("_total")
                        found[name] = found.get(name, 0) + sample.value
        return found

    wait_until(lambda: figures().get("broker_dead_letters") == 1, what="the dead message is copied")
    wait_until(
        lambda: figures().get("manager_group_lag_messages", 0) > 0, what="the manager knows groups"
    )
    found = figures()
    assert found["broker_messages_produced"] == found["broker_stored_messages"] == 60
    assert found["broker_messages_popped"] >= 1
    assert found["broker_messages_fetched"] >= 1
    assert found["broker_messages_received"] == 1
    assert found["broker_offsets_committed"] >= 1
    assert found["manager_group_lag_seconds"] > 0
