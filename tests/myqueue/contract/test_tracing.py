from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from myqueue.contract.records import MAX_HEADERS, Record
from myqueue.contract.tracing import TraceContext, placed, trace_context

ROOT = Path(__file__).resolve().parents[3]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        f"{PARENT}\r\nX-Other: 1",
        f"{PARENT}\n",
    ],
)
def test_what_is_no_traceparent_is_not_passed_on(wrong):
    assert trace_context({"traceparent": wrong, "tracestate": "a=1"}) is None


def test_a_tracestate_that_cannot_be_passed_on_is_left_out():
    for wrong in ("a=1\r\nX: 1", "x" * 513, "é"):
        said = {"traceparent": PARENT, "tracestate": wrong}
        assert trace_context(said) == TraceContext(PARENT)


def test_a_message_full_of_headers_stays_as_it_is():
    full = Record("a", None, {str(number): "" for number in range(MAX_HEADERS - 1)}, 0)
    assert placed(full, TraceContext(PARENT)) is full
    assert placed(Record("a", None, None, 0), TraceContext(PARENT, "a=1")).headers == {
        "traceparent": PARENT,
        "tracestate": "a=1",
    }


LOADED = """
import sys
import myqueue
from myqueue.testing import InMemoryQueue
with InMemoryQueue() as made:
    myqueue.Client(made.address).create_topic("logs")
    with myqueue.Producer("logs", made.address) as producer:
        producer.enqueue("logs", "one")
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_nothing_of_opentelemetry_is_loaded_without_an_endpoint():
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_missing_packages_are_told_once_and_hinder_nothing():
    program = f"import sys; sys.modules['opentelemetry'] = None\n{LOADED}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "an endpoint for traces is set, and no spans are made" in done.stderr
