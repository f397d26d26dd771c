from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.acknowledged import CheckFailed
from benchmarks.measurement import Figure
from benchmarks.workloads.views import BROKERS, TOPIC_PARTITIONS, Views


class Manager(BaseHTTPRequestHandler):
    """Answers as it is told to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answers = self.server.answers
        body = json.dumps(answers["/brokers" if self.path == "/brokers" else "topic"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class SiteTwin:
    """A cluster that is only the manager's answers."""

    def __init__(self, manager: str) -> None:
        self.manager = manager
        self.created: list[int] = []

    def new_partitions(self, workload, count):
        self.created.append(count)

    def new_wide_topic(self, workload, partitions):
        self.created.append(partitions)
        return "wide"


@pytest.fixture
def answers():
    led = {"leader": {"broker_id": 1}}
    return {
        "topic": {"partitions": [dict(led) for _ in range(TOPIC_PARTITIONS)]},
        "/brokers": {"brokers": ["one", "two", "three"]},
    }


@pytest.fixture
def workload(answers):
    with ThreadingHTTPServer(("127.0.0.1", 0), Manager) as server:
        server.answers = answers
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made = Views(60)
        site = SiteTwin(f"http://127.0.0.1:{server.server_port}")
        made.prepare(site)
        assert site.created == [60 - TOPIC_PARTITIONS, TOPIC_PARTITIONS]
        yield made
        made.close()
        server.shutdown()
        thread.join()


def test_both_answers_are_timed_and_looked_at(workload):
    measurement = workload.run(0.01)
    assert measurement.value(Figure.TOPIC_MS) > 0
    assert measurement.value(Figure.BROKERS_MS) > 0
    assert workload.check() == measurement.messages // 2 * (TOPIC_PARTITIONS + BROKERS)


def test_a_partition_without_a_leader_is_told(workload, answers):
    answers["topic"]["partitions"][7]["leader"] = None
    with pytest.raises(CheckFailed, match="49 of 50 partitions have a leader"):
        workload.run(0.01)


def test_a_missing_broker_is_told(workload, answers):
    answers["/brokers"]["brokers"].pop()
    with pytest.raises(CheckFailed, match="there are 3 brokers"):
        workload.run(0.01)
