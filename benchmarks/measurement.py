"""What one run of a workload showed."""

from __future__ import annotations

from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class Figure(StrEnum):
    """A number that a run gives; the value is the attribute's name in `Measurement`.

    Those that few workloads have are in its `others`.
    """

    PER_SECOND = "per_second"
    P50_MS = "p50_ms"
    P99_MS = "p99_ms"
    P999_MS = "p999_ms"
    LONGEST_MS = "longest_ms"
    PROCESSOR_PERCENT = "processor_percent"
    RESIDENT_MB = "resident_mb"
    TOPIC_MS = "topic_ms"
    BROKERS_MS = "brokers_ms"
    SERVING_S = "serving_s"
    LED_S = "led_s"
    FIRST_READY_S = "first_ready_s"
    FIRST_MANAGER_S = "first_manager_s"
    FIRST_BROKER_S = "first_broker_s"
    AGAIN_READY_S = "again_ready_s"
    AGAIN_MANAGER_S = "again_manager_s"
    AGAIN_BROKER_S = "again_broker_s"
    ENTRY_US = "entry_us"
    BARE_ENTRY_US = "bare_entry_us"
    ENTRY_RATIO = "entry_ratio"
    LIST_MS = "list_ms"
    CREATE_MS = "create_ms"
    RECONCILE_MS = "reconcile_ms"
    LEADERS_MS = "leaders_ms"
    LOAD_MS = "load_ms"
    REPORT_MS = "report_ms"
    REPORT_KB = "report_kb"
    FULL_REPORT_MS = "full_report_ms"
    FULL_REPORT_KB = "full_report_kb"
    REGISTER_MS = "register_ms"
    CLIENTS_MS = "clients_ms"
    PAGE_MS = "page_ms"
    CONSOLE_MS = "console_ms"
    CONSOLE_ALONE_MS = "console_alone_ms"
    CONSOLE_WORK_MS = "console_work_ms"
    CONSOLE_ALONE_WORK_MS = "console_alone_work_ms"

    @property
    def label(self) -> str:
        """How a table calls it."""
        return _LABELS[self]

    @property
    def greater_is_better(self) -> bool:
        """Whether one aims for much of it."""
        return self is Figure.PER_SECOND


_LABELS = {
    Figure.PER_SECOND: "messages/s",
    Figure.P50_MS: "p50 ms",
    Figure.P99_MS: "p99 ms",
    Figure.P999_MS: "p99.9 ms",
    Figure.LONGEST_MS: "longest ms",
    Figure.PROCESSOR_PERCENT: "processor, % of a core",
    Figure.RESIDENT_MB: "memory in RAM, MB",
    Figure.TOPIC_MS: "GET /topics/T, ms",
    Figure.BROKERS_MS: "GET /brokers, ms",
    Figure.SERVING_S: "s from its start until it serves",
    Figure.LED_S: "s until all partitions are led",
    Figure.FIRST_READY_S: "first start: s until all are ready",
    Figure.FIRST_MANAGER_S: "first start: processor s of the manager",
    Figure.FIRST_BROKER_S: "first start: processor s of a broker",
    Figure.AGAIN_READY_S: "next start: s until all are ready",
    Figure.AGAIN_MANAGER_S: "next start: processor s of the manager",
    Figure.AGAIN_BROKER_S: "next start: processor s of a broker",
    Figure.ENTRY_US: "storage thread: processor us for an entry",
    Figure.BARE_ENTRY_US: "bare SQLite: processor us for a row",
    Figure.ENTRY_RATIO: "ratio of the two",
    Figure.LIST_MS: "a page of topics or clients, ms",
    Figure.CREATE_MS: "POST /topics of 50 partitions until it is ordered, ms",
    Figure.RECONCILE_MS: "a round of placement with nothing to do, ms",
    Figure.LEADERS_MS: "a look at the spread of leaders, ms",
    Figure.LOAD_MS: "loading all metadata, as at the start, ms",
    Figure.REPORT_MS: "a broker's report, 1 % changed, ms",
    Figure.REPORT_KB: "size of that report, kB",
    Figure.FULL_REPORT_MS: "a full report, ms",
    Figure.FULL_REPORT_KB: "size of a full report, kB",
    Figure.REGISTER_MS: "registering a client, ms",
    Figure.CLIENTS_MS: "heartbeats of all clients stored, and a look, ms",
    Figure.PAGE_MS: "the slowest list of the admin, ms",
    Figure.CONSOLE_MS: "the slowest page of the console, ms",
    Figure.CONSOLE_ALONE_MS: "the same with two of three brokers stopped, ms",
    Figure.CONSOLE_WORK_MS: "processor ms of the manager for the costliest page",
    Figure.CONSOLE_ALONE_WORK_MS: "the same with two of three brokers stopped",
}


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run."""

    messages: int
    """How many were written or read."""
    seconds: float
    """How long that took, above 0."""
    p50_ms: float
    """Of the single operations; 0 when there was none."""
    p99_ms: float
    p999_ms: float
    longest_ms: float
    others: dict[Figure, float] = {}
    """What a workload measured besides."""
    notes: list[str] = []
    """Lines that say more than the figures do."""

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def value(self, figure: Figure) -> float:
        """Return one figure."""
        if figure in self.others:
            return self.others[figure]
        found: float = getattr(self, figure.value)
        return found


class Summary(NamedTuple):
    """One figure over several runs."""

    median: float
    least: float
    greatest: float


def measure(*, messages: int, seconds: float, latencies_s: Sequence[float]) -> Measurement:
    """Return the figures of a run.

    Args:
        messages: how many were written or read.
        seconds: from the first operation's start to the last one's end.
        latencies_s: of each operation, in any order.
    """
    assert seconds > 0, f"a run takes time, not {seconds} s"
    ordered = sorted(latencies_s)
    return Measurement(
        messages=messages,
        seconds=seconds,
        p50_ms=percentile(ordered, 50) * 1000,
        p99_ms=percentile(ordered, 99) * 1000,
        p999_ms=percentile(ordered, 99.9) * 1000,
        longest_ms=percentile(ordered, 100) * 1000,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that is not below `percent` of them; 0 of nothing.

    Args:
        ordered: ascending.
        percent: above 0, at most 100; with one decimal at most.
    """
    if not ordered:
        return 0.0
    rank = -(-len(ordered) * round(percent * 10) // 1000)
    return ordered[rank - 1]


def summarize(values: Sequence[float]) -> Summary:
    """Return median, least and greatest of at least one value."""
    return Summary(median(values), min(values), max(values))
