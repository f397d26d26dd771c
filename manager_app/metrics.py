"""Metrics of a manager for `GET /metrics`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from myqueue.contract.errors import QueueError

if TYPE_CHECKING:
    from types import TracebackType

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


_passed = lru_cache(maxsize=1_024)(PASSED_CALLS.labels)
"""(Kind, outcome) -> what counts them: to look it up by its labels takes several times as long."""


class counted:
    """Count a call that is passed on, by how it ended."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count it."""
        if error is None:
            outcome = "ok"
        else:
            outcome = error.code if isinstance(error, QueueError) else "cancelled"
        _passed(self._kind, outcome).inc()
