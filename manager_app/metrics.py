"""Metrics of a manager for `GET /metrics`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED_CALLS = Counter(
    "queue_manager_passed_calls",
    "Calls passed on to brokers, by kind and outcome (ok or the error's code)",
    ["kind", "outcome"],
)
CALL_RETRIES = Counter(
    "queue_manager_call_retries",
    "Calls to partition leaders that were tried again, by reason",
    ["reason"],
)
OPEN_CALLS = Gauge("queue_manager_open_calls", "Calls being passed on, long polls included")
BROKERS = Gauge("queue_manager_brokers", "Brokers by state", ["state"])
BROKERS_SILENT = Gauge(
    "queue_manager_brokers_silent", "Brokers past the limit of silence, until they are back or gone"
)
PARTITIONS_TO_HEAL = Gauge(
    "queue_manager_partitions_to_heal", "Partitions that are not as they should be"
)
MOVES_LEFT = Gauge("queue_manager_moves_left", "Replicas that are still to be moved for balance")
CLIENTS_KNOWN = Gauge("queue_manager_clients_known", "Clients with a known heartbeat")


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """Count a call that is passed on, by how it ended."""
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except QueueError as error:
        outcome = error.code
        raise
    finally:
        PASSED_CALLS.labels(kind, outcome).inc()
