"""What real servers tell Prometheus, and what is made of it: names, board, alert rules."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from myqueue import Client, Consumer, Producer, Worker
from tests.cluster.processes import ROOT, wait_until
from tests.cluster.prometheus import WINDOW, Prometheus, tool
from tools.grafana_board import BOARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.kept import Kept
    from tests.cluster.processes import Cluster

pytestmark = pytest.mark.cluster
TOPIC = "orders"
FOUND_SECONDS = 90
"""Some scrapes of a busy machine; usually it takes five seconds."""
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"


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
        assert member.poll(timeout=60) is not None
        member.commit()
    with Worker(TOPIC, manager, group="mailers", delivery_limit=1) as worker:
        received = worker.receive(1, timeout=60)
        assert received
        worker.nack(*received)


@pytest.fixture(scope="module")
def prometheus(
    busy_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Give a Prometheus that scrapes the cluster."""
    directory = tmp_path_factory.mktemp("prometheus")
    with Prometheus(directory, addresses(busy_cluster)) as running:
        yield running


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

    def has_all() -> bool:
        found = figures()
        return (
            found.get("broker_stored_messages") == 60
            and found["broker_messages_produced"] >= 60
            and found["broker_messages_popped"] >= 1
            and found["broker_messages_fetched"] >= 1
            and found["broker_messages_received"] >= 1
            and found["broker_offsets_committed"] >= 1
            and found["broker_dead_letters"] >= 1
            and found.get("manager_group_lag_messages", 0) > 0
            and found.get("manager_group_lag_seconds", 0) > 0
        )

    wait_until(has_all, what="everything is shown", seconds=FOUND_SECONDS, pause_s=0.2)


def test_every_query_of_the_board_finds_data(prometheus: Prometheus) -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    queries = {target["expr"] for panel in panels for target in panel.get("targets", ())}
    missing = {query.replace("$__rate_interval", WINDOW) for query in queries}

    def all_found() -> bool:
        missing.difference_update([query for query in missing if prometheus.query(query)])
        return not missing

    try:
        wait_until(all_found, what="every query finds data", seconds=FOUND_SECONDS, pause_s=0.5)
    except AssertionError as error:
        raise AssertionError(f"no data for {sorted(missing)}") from error
    assert len(queries) > 40


def test_every_alert_rule_is_judged_by_metrics_that_there_are(prometheus: Prometheus) -> None:
    names = {
        name
        for rule in prometheus.rules()
        for name in re.findall(r"\b(queue_\w+|up)\b", rule["query"])
    }

    def all_there() -> bool:
        return all(prometheus.query(f"count({name})") for name in names)

    wait_until(all_there, what=f"{sorted(names)}", seconds=FOUND_SECONDS, pause_s=0.5)
    wait_until(
        lambda: all(rule["health"] == "ok" for rule in prometheus.rules()),
        what="every rule was judged",
        seconds=FOUND_SECONDS,
        pause_s=0.5,
    )
    assert len(names) > 15
