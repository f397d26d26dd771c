"""Each alert rule fires when it should and not before or after, as promtool computes it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.prometheus import RULES, tool

PHASE = 60
"""Minutes for which all is well, then not, then twice as long well again."""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "monitoring.md"


def gauge(good: float, bad: float) -> str:
    """Return the values of a figure that has another value while something is wrong."""
    return f"{good}+0x{PHASE - 1} {bad}+0x{PHASE - 1} {good}+0x{2 * PHASE - 1}"


def counter(good: float, bad: float) -> str:
    """Return the values of a counter that grows by so much a minute."""
    first, second = good * PHASE, good * PHASE + bad * PHASE
    return f"0+{good}x{PHASE - 1} {first}+{bad}x{PHASE - 1} {second}+{good}x{2 * PHASE - 1}"


def always(value: float) -> str:
    return f"{value}+0x{4 * PHASE - 1}"


B1, B2 = '{job="queuesite",instance="b1"}', '{job="queuesite",instance="b2"}'
CASES: dict[str, dict[str, str]] = {
    "QueueServerDown": {f"up{B1}": gauge(1, 0), f"up{B2}": always(1)},
    "QueueBrokerSilent": {
        'queue_manager_report_age_seconds{instance="m1",broker="3"}': gauge(2, 60),
        'queue_manager_report_age_seconds{instance="m2",broker="3"}': gauge(3, 61),
    },
    "QueueNoPrimary": {
        'queue_manager_primary{instance="m1"}': gauge(1, 0),
        'queue_manager_primary{instance="m2"}': always(0),
    },
    "QueueDatabaseDown": {'queue_manager_database_up{instance="m1"}': gauge(1, 0)},
    "QueuePartitionsLeaderless": {
        'queue_manager_partitions_leaderless{instance="m1"}': gauge(0, 1),
        f"queue_broker_replicas_without_leader{B1}": always(0),
    },
    "QueuePartitionsUnderReplicated": {
        'queue_manager_partitions_under_replicated{instance="m1"}': always(0),
        f"queue_broker_under_replicated_partitions{B1}": gauge(0, 2),
    },
    "QueueReplicasFaulty": {'queue_broker_replicas{role="faulty"}': gauge(0, 1)},
    "QueueElectionsMany": {
        f"queue_broker_elections_won_total{B1}": counter(0.1, 30),
        "queue_manager_partitions": always(30),
    },
    "QueueDiskFull": {f"queue_broker_disk_full{B1}": gauge(0, 1)},
    "QueueDiskLow": {
        f"queue_broker_disk_free_bytes{B1}": gauge(9e9, 1e9),
        f"queue_broker_disk_reserve_bytes{B1}": always(268435456),
    },
    "QueueDiskSlow": {
        'queue_broker_transaction_seconds_bucket{instance="b1",le="0.5"}': counter(600, 500),
        'queue_broker_transaction_seconds_bucket{instance="b1",le="2.0"}': counter(600, 600),
        'queue_broker_transaction_seconds_bucket{instance="b1",le="+Inf"}': counter(600, 600),
    },
    "QueueTicksLate": {
        f"queue_broker_ticks_late_total{B1}": counter(6, 120),
        f"queue_broker_tick_interval_seconds_count{B1}": counter(1200, 1200),
    },
    "QueueLoopStalls": {
        'queue_loop_delay_seconds_bucket{instance="b1",le="0.5"}': counter(120, 100),
        'queue_loop_delay_seconds_count{instance="b1"}': counter(120, 110),
    },
    "QueueGroupLags": {'queue_manager_group_lag_seconds{group="g",topic="t"}': gauge(10, 400)},
    "QueueDeadLetters": {'queue_broker_dead_letters_total{topic="t"}': counter(0, 1)},
    "QueueDeadMessagesStay": {
        'queue_manager_group_dead_messages{group="g",topic="t"}': gauge(0, 4)
    },
    "QueueMessagesCorrupt": {'queue_broker_messages_corrupt_total{topic="t"}': counter(0, 1)},
    "QueueRetentionFails": {f"queue_broker_retention_failures_total{B1}": counter(0, 1)},
    "QueueMemoryShort": {
        'queue_broker_memory_refusals_total{instance="b1",share="tails"}': counter(6, 600)
    },
    "QueueServersFail": {
        'queue_http_request_seconds_count{instance="b1",operation="GET /x",code="INTERNAL"}': (
            counter(0, 1)
        ),
        'queue_http_request_seconds_count{instance="b1",operation="GET /x",code="ok"}': (
            counter(100, 100)
        ),
    },
}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def fires(alert: str, minute: int, *, expected: bool) -> dict[str, Any]:
    """Return what promtool is to find of an alert at a time."""
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    return {
        "expr": f"({firing} > bool 0) or vector(0)",
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": "{}", "value": int(expected)}],
    }


def all_cases() -> dict[str, Any]:
    """Return one test of all alerts at once: each looks at metrics of its own."""
    series = {name: values for case in CASES.values() for name, values in case.items()}
    assert len(series) == sum(map(len, CASES.values()))
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            fires(alert, minute, expected=expected)
            for alert in CASES
            for minute, expected in (
                (PHASE - 1, False),
                (2 * PHASE - 1, True),
                (4 * PHASE - 1, False),
            )
        ],
    }


def test_each_alert_fires_while_something_is_wrong_and_only_then(tmp_path: Path) -> None:
    promtool = tool("promtool")
    assert CASES.keys() == {rule["alert"] for rule in rules()}
    unit = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [all_cases()],
    }
    (tmp_path / "cases.yml").write_text(json.dumps(unit))
    tested = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "cases.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_prometheus_takes_the_rules_and_the_example(tmp_path: Path) -> None:
    checked = subprocess.run(
        [tool("promtool"), "check", "config", "prometheus.yml"],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules())} rules found" in checked.stdout


def test_the_page_says_of_each_alert_what_it_means_and_what_to_do() -> None:
    told = re.findall(r"^\| `(Queue\w+)` \| [^|]{20,} \| [^|]{20,} \|$", PAGE.read_text(), re.M)
    assert told == [rule["alert"] for rule in rules()]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_alert_has_a_severity_and_a_sentence(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
