"""Writes deploy/grafana/queuesite.json: the Grafana board, from the table of its panels here.

python -m tools.grafana_board
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

BOARD = Path(__file__).parents[1] / "deploy" / "grafana" / "queuesite.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


class Panel(NamedTuple):
    """One diagram."""

    title: str
    unit: str
    """As Grafana calls it."""
    queries: dict[str, str]
    """PromQL by what its lines are called; names in braces are labels."""


def rate(name: str, by: str) -> str:
    """Return the query of a counter's rate by labels."""
    return f"sum by ({by}) (rate(queue_{name}_total[$__rate_interval]))"


def quantile(share: float, name: str, by: str = "") -> str:
    """Return the query of a quantile of a histogram."""
    labels = f"le, {by}" if by else "le"
    times = f"rate(queue_{name}_bucket[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({labels}) ({times}))"


ROWS: dict[str, list[Panel]] = {
    "Is it well?": [
        Panel("Servers that answer", "none", {"{{instance}}": "up{job='queuesite'}"}),
        Panel("Brokers", "none", {"{{state}}": "max by (state) (queue_manager_brokers)"}),
        Panel(
            "Partitions in trouble",
            "none",
            {
                "without leader": "max(queue_manager_partitions_leaderless)",
                "under-replicated": "max(queue_manager_partitions_under_replicated)",
                "to heal": "max(queue_manager_partitions_to_heal)",
            },
        ),
        Panel(
            "Age of reports",
            "s",
            {"{{broker}}": "min by (broker) (queue_manager_report_age_seconds)"},
        ),
        Panel(
            "Lease",
            "s",
            {
                "{{instance}}": "queue_manager_lease_left_seconds",
                "metadata {{instance}}": "queue_manager_metadata_age_seconds",
            },
        ),
        Panel("Replicas", "none", {"{{role}}": "sum by (role) (queue_broker_replicas)"}),
    ],
    "Messages": [
        Panel("Produced messages", "ops", {"{{topic}}": rate("broker_messages_produced", "topic")}),
        Panel("Produced bytes", "Bps", {"{{topic}}": rate("broker_produced_bytes", "topic")}),
        Panel(
            "Batch size",
            "none",
            {
                "messages, half below": quantile(0.5, "broker_batch_messages"),
                "messages, 99 % below": quantile(0.99, "broker_batch_messages"),
            },
        ),
        Panel(
            "Read messages",
            "ops",
            {
                "popped {{topic}}": rate("broker_messages_popped", "topic"),
                "fetched {{topic}}": rate("broker_messages_fetched", "topic"),
                "to workers {{topic}}": rate("broker_messages_received", "topic"),
            },
        ),
        Panel(
            "Read bytes",
            "Bps",
            {
                "popped {{topic}}": rate("broker_popped_bytes", "topic"),
                "fetched {{topic}}": rate("broker_fetched_bytes", "topic"),
                "to workers {{topic}}": rate("broker_received_bytes", "topic"),
            },
        ),
        Panel(
            "Stored",
            "bytes",
            {"{{topic}}": "sum by (topic) (queue_broker_stored_bytes)"},
        ),
    ],
    "Groups": [
        Panel(
            "Lag",
            "none",
            {"{{group}} {{topic}}": "max by (group, topic) (queue_manager_group_lag_messages)"},
        ),
        Panel(
            "Lag in time",
            "s",
            {"{{group}} {{topic}}": "max by (group, topic) (queue_manager_group_lag_seconds)"},
        ),
        Panel(
            "Workers",
            "none",
            {
                "in flight {{group}}": "max by (group) (queue_manager_group_in_flight_messages)",
                "dead {{group}}": "max by (group) (queue_manager_group_dead_messages)",
            },
        ),
        Panel("Commits", "ops", {"{{topic}}": rate("broker_offsets_committed", "topic")}),
        Panel(
            "Given up and again",
            "ops",
            {
                "dead letters {{topic}}": rate("broker_dead_letters", "topic"),
                "again {{topic}}": rate("broker_messages_redelivered", "topic"),
            },
        ),
        Panel("Retention", "ops", {"{{topic}}": rate("broker_messages_retired", "topic")}),
    ],
    "Requests": [
        Panel(
            "Requests",
            "ops",
            {
                "{{operation}}": (
                    "sum by (operation) (rate(queue_http_request_seconds_count[$__rate_interval]))"
                )
            },
        ),
        Panel(
            "99 % of requests within",
            "s",
            {"{{operation}}": quantile(0.99, "http_request_seconds", "operation")},
        ),
        Panel(
            "Answers by code",
            "ops",
            {
                "{{code}}": (
                    "sum by (code) (rate(queue_http_request_seconds_count[$__rate_interval]))"
                )
            },
        ),
        Panel("Connections", "none", {"{{instance}}": "queue_http_connections"}),
        Panel(
            "Long polls",
            "none",
            {
                "{{instance}}": "queue_broker_long_polls",
                "passed on {{instance}}": "queue_manager_long_polls",
            },
        ),
        Panel(
            "Passed on by managers",
            "ops",
            {"calls under way {{instance}}": "queue_manager_open_calls"},
        ),
    ],
    "Disk and time": [
        Panel(
            "99 % of writes within",
            "s",
            {
                "transaction {{instance}}": quantile(
                    0.99, "broker_transaction_seconds", "instance"
                ),
                "sync {{instance}}": quantile(0.99, "broker_commit_seconds", "instance"),
            },
        ),
        Panel(
            "Disk",
            "bytes",
            {
                "free {{instance}}": "queue_broker_disk_free_bytes",
                "reserve {{instance}}": "queue_broker_disk_reserve_bytes",
            },
        ),
        Panel("Waits for the disk", "none", {"{{instance}}": "queue_broker_unwritten_groups"}),
        Panel(
            "99 % of ticks within",
            "s",
            {"{{instance}}": quantile(0.99, "broker_tick_interval_seconds", "instance")},
        ),
        Panel(
            "99 % of timers late by",
            "s",
            {"{{instance}}": quantile(0.99, "loop_delay_seconds", "instance")},
        ),
        Panel(
            "Memory in use",
            "percentunit",
            {
                "{{share}} {{instance}}": (
                    "queue_broker_memory_bytes / (queue_broker_memory_limit_bytes > 0)"
                )
            },
        ),
    ],
    "Consensus": [
        Panel("Elections", "ops", {"{{instance}}": rate("broker_elections_won", "instance")}),
        Panel("New terms", "ops", {"{{instance}}": rate("broker_terms", "instance")}),
        Panel(
            "Entries that followers lack",
            "none",
            {"on broker {{follower}}": "max by (follower) (queue_broker_follower_lag_entries)"},
        ),
        Panel(
            "Bytes to peers", "Bps", {"{{instance}}": rate("broker_raft_sent_bytes", "instance")}
        ),
        Panel(
            "Processor",
            "percentunit",
            {"{{instance}}": "rate(process_cpu_seconds_total{job='queuesite'}[$__rate_interval])"},
        ),
        Panel(
            "Memory",
            "bytes",
            {"{{instance}}": "process_resident_memory_bytes{job='queuesite'}"},
        ),
    ],
}


def board() -> dict[str, Any]:
    """Return the board as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": WIDTH * COLUMNS, "h": 1}
        panels.append({"type": "row", "title": title, "gridPos": place, "id": len(panels) + 1})
        for number, panel in enumerate(row):
            line, column = divmod(number, COLUMNS)
            corner = {"x": column * WIDTH, "y": y + 1 + line * HEIGHT}
            panels.append(
                {
                    "type": "timeseries",
                    "title": panel.title,
                    "id": len(panels) + 1,
                    "datasource": SOURCE,
                    "gridPos": {**corner, "w": WIDTH, "h": HEIGHT},
                    "fieldConfig": {
                        "defaults": {"unit": panel.unit, "min": 0},
                        "overrides": [],
                    },
                    "targets": [
                        {"refId": chr(65 + index), "expr": expr, "legendFormat": legend}
                        for index, (legend, expr) in enumerate(panel.queries.items())
                    ],
                }
            )
        y += 1 + HEIGHT * -(-len(row) // COLUMNS)
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "queuesite",
        "uid": "queuesite",
        "tags": ["queuesite"],
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [source]},
        "panels": panels,
    }


def text() -> str:
    """Return the file."""
    return json.dumps(board(), indent=1) + "\n"


def main() -> None:
    """Write the file."""
    BOARD.write_text(text())


if __name__ == "__main__":
    main()
