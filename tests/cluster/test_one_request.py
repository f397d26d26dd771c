"""What a person sees who asks where one request went: lines of all logs, dumps of all processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from myqueue import Consumer, Producer
from tests.cluster.otlp_receiver import OtlpReceiver
from tests.cluster.processes import ROOT, Cluster, create_topic, inherited, popen, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.otlp_receiver import Span

pytestmark = pytest.mark.cluster

BODY = "only-for-the-receiver"
"""Part of every message, key and header here."""
PARTITION = "partition 0 of topic 'logs'"
PROPOSED = re.compile(rf"{PARTITION}: entry (?P<index>\d+) of term (?P<term>\d+) is proposed, .+")
ENTRIES = rf"{PARTITION}: entries (?P<first>\d+) to (?P<last>\d+) are"
STORED = re.compile(rf"{ENTRIES} stored, the last one of term (?P<term>\d+)")
APPLIED = re.compile(rf"{ENTRIES} applied")


PROGRAM = """
import sys
from myqueue import Consumer, Producer, tracing

address = sys.argv[1]
with Producer("logs", address) as producer:
    producer.enqueue("logs", "traced")
with Consumer("logs", address) as consumer:
    found = next(one for one in consumer if one.value == "traced")
    with tracing.processing(found):
        print(tracing.place_of(found).traceparent.split("-")[1], flush=True)
    sys.stdin.read()
"""
"""Produces and consumes a message, prints its trace and ends when it is told to."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def exporting_to(receiver: OtlpReceiver) -> dict[str, str]:
    """Return the environment of a process that exports its spans there."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> Iterator[Cluster]:
    variables = {"QUEUE_LOG_LEVEL": "debug", "QUEUE_LOG_FORMAT": "json", **exporting_to(receiver)}
    directory = tmp_path_factory.mktemp("one-request") / "data"
    with Cluster(directory, variables=variables) as cluster:
        create_topic(cluster, "logs", 1)
        cluster.leader_of("logs", 0)
        yield cluster


def lines_of(cluster: Cluster) -> dict[str, list[dict[str, Any]]]:
    """Return the logs of the manager and the brokers, by the names of their files."""
    logs = sorted(cluster.data_dir.rglob("*.log"))
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines() if line[0] == "{"]
        for path in logs
    }


def test_one_write_is_followed_through_all_brokers(cluster: Cluster) -> None:
    client_id = cluster.post("/producer/register", topic="logs")["producer_id"]
    answer = cluster.http.post(
        f"{cluster.manager}/producer/produce",
        json={"topic": "logs", "producer_id": client_id, "message": BODY},
        headers={"X-Request-Id": "followed-1"},
        timeout=40,
    )
    assert answer.status_code == 200
    assert answer.headers["X-Request-Id"] == "followed-1"

    def said_of_it() -> dict[str, list[str]]:
        return {
            name: [line["message"] for line in lines if line.get("request_id") == "followed-1"]
            for name, lines in lines_of(cluster).items()
        }

    wait_until(  # what a call took is told after its answer
        lambda: any(
            one.startswith("POST /producer/produce took") for one in said_of_it()["manager"]
        ),
        what="the manager says what the call took",
    )
    own = said_of_it()
    (leader,) = [name for name, said in own.items() if name != "manager" and said]
    (proposed,) = [said for said in own[leader] if "is proposed" in said]
    found = PROPOSED.fullmatch(proposed)
    assert found is not None, proposed
    index, term = int(found["index"]), found["term"]

    def has(lines: list[dict[str, Any]], told: re.Pattern[str]) -> bool:
        """Tell whether a broker says that an entry was stored, or applied."""
        lines_told = [told.fullmatch(line["message"]) for line in lines]
        return any(
            int(one["first"]) <= index <= int(one["last"])
            and one.groupdict().get("term") in (None, term)
            for one in lines_told
            if one is not None
        )

    def is_everywhere() -> bool:
        logs = {name: lines for name, lines in lines_of(cluster).items() if name != "manager"}
        told = [has(lines, what) for lines in logs.values() for what in (STORED, APPLIED)]
        return len(told) == 2 * cluster.brokers and all(told)

    wait_until(is_everywhere, what="each broker says that it stored and applied the entry")


def test_one_trace_goes_over_producer_broker_and_consumer(
    cluster: Cluster, receiver: OtlpReceiver
) -> None:
    program = popen(
        [sys.executable, "-c", PROGRAM, cluster.manager],
        cwd=ROOT,
        env={**inherited(), **exporting_to(receiver), "OTEL_SERVICE_NAME": "shop"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    trace_id = program.stdout.readline().strip()
    wanted = {
        ("shop", "create logs"),
        ("shop", "send logs"),
        ("queuesite-broker", "POST /producer/produce"),
        ("shop", "process logs"),
    }

    def spans() -> dict[tuple[str, str], Span]:
        return {(span.service, span.name): span for span in receiver.spans(trace_id)}

    wait_until(lambda: spans().keys() == wanted, what="the spans are exported", seconds=60)
    program.communicate(timeout=60)
    assert program.returncode == 0
    found = spans()
    create, send, broker, process = (
        found["shop", "create logs"],
        found["shop", "send logs"],
        found["queuesite-broker", "POST /producer/produce"],
        found["shop", "process logs"],
    )
    assert create.parent_id == ""
    assert send.parent_id == process.parent_id == create.span_id
    assert broker.parent_id == send.span_id


def test_a_trace_that_comes_over_http_is_kept_in_the_message(
    cluster: Cluster, receiver: OtlpReceiver
) -> None:
    trace_id, caller_id = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    client_id = cluster.post("/producer/register", topic="logs")["producer_id"]
    produced = cluster.http.post(
        f"{cluster.manager}/producer/produce",
        json={"topic": "logs", "producer_id": client_id, "message": BODY},
        headers={"traceparent": f"00-{trace_id}-{caller_id}-01", "tracestate": "shop=1"},
        timeout=40,
    ).json()

    def spans() -> dict[str, Span]:
        return {span.service: span for span in receiver.spans(trace_id)}

    wait_until(lambda: len(spans()) == 2, what="both servers' spans are exported", seconds=60)
    manager, broker = spans()["queuesite-manager"], spans()["queuesite-broker"]
    assert (manager.parent_id, broker.parent_id) == (caller_id, manager.span_id)
    registered = cluster.post("/consumer/register", topic="logs")
    (message,) = cluster.get(
        "/fetch",
        topic="logs",
        partition=0,
        offset=produced["offset"],
        token=registered["token"],
    )["messages"]
    assert message["headers"] == {
        "traceparent": f"00-{trace_id}-{broker.span_id}-01",
        "tracestate": "shop=1",
    }


def test_every_process_says_where_it_is(cluster: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "dump", str(cluster.data_dir), "--wait", "60"],
        cwd=ROOT,
        env=inherited(),
        capture_output=True,
        text=True,
        check=True,
    )
    dumps = {Path(line).parent.name: Path(line).read_text() for line in done.stdout.splitlines()}
    assert sorted(dumps) == ["broker-1", "broker-2", "broker-3", "manager"]
    secret = (cluster.data_dir / "cluster.secret").read_text().strip()
    for name, said in dumps.items():
        assert "== event loop ==\nuvloop.Loop\nit " in said, name
        assert "QUEUE_CLUSTER_SECRET=(set)" in said
        assert secret not in said
        assert "cannot be told" not in said
        kind = "manager" if name == "manager" else "broker"
        assert f'queue_{kind}_memory_bytes{{share="bodies"}}' in said
    assert "-- 1 x the HTTP server" in dumps["manager"]
    assert "-- storage" in dumps["broker-1"]
    assert "queue_broker_intervals_without_tick " in dumps["broker-1"]


def test_no_log_has_what_is_in_messages_or_a_secret(cluster: Cluster) -> None:
    with Producer("logs", cluster.manager) as producer:
        producer.send("logs", BODY, key=BODY, headers={"h": BODY.encode()}).result(30)
    with Consumer("logs", cluster.manager) as consumer:
        assert consumer.dequeue("logs")
    wrong = {"topic": "logs", "producer_id": 1, "message": BODY, "headers": {"h": [BODY]}}
    registered = cluster.post("/producer/register", topic="logs")
    assert cluster.post("/producer/produce", **wrong)["http_status"] == 400
    for address in cluster.broker_addresses():
        refused = cluster.post("/producer/produce", address=address, **wrong, token=BODY)
        assert refused["http_status"] in (400, 401)
    secret = (cluster.data_dir / "cluster.secret").read_text().strip()
    everything = "".join(path.read_text() for path in cluster.data_dir.rglob("*.log"))
    assert "is proposed" in everything
    for hidden in (BODY, secret, registered["token"]):
        assert hidden not in everything
