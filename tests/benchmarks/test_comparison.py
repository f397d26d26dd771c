from __future__ import annotations

import pytest

from benchmarks.comparison import comparison_notes, comparison_rows, markdown, ratio_of
from benchmarks.measurement import Figure
from tests.benchmarks.samples import measured, outcome


@pytest.fixture
def outcomes():
    return [
        outcome("sync_1", measured(2_000, 1.0), measured(900, 2.0), measured(1_000, 1.0)),
        outcome(
            *("sync_1", measured(1_000, 2.0), measured(1_000, 1.0), measured(1_000, 0.5)),
            system="nats",
        ),
    ]


def test_a_ratio_is_that_of_the_rounds_and_not_of_the_medians(outcomes):
    assert ratio_of(*outcomes, Figure.PER_SECOND) == (1.0, 0.9, 2.0)


def test_less_time_is_better(outcomes):
    assert ratio_of(*outcomes, Figure.P50_MS) == (0.5, 0.5, 2.0)


def test_nothing_is_no_ratio(outcomes):
    ours, other = outcomes
    assert ratio_of(ours, outcome("sync_1", *[measured(0)] * 3), Figure.PER_SECOND) is None
    assert ratio_of(outcome("sync_1", *[measured(0)] * 3), other, Figure.PER_SECOND) is None


def test_each_figure_has_a_line_for_each_system_and_the_disk(outcomes):
    rows = comparison_rows(outcomes)
    assert rows[0] == (
        *("sync_1", "messages/s", "queuesite", "1,000", "900", "2,000"),
        *("", "", "", ""),
    )
    assert rows[1] == (
        *("", "", "nats", "1,000", "1,000", "1,000"),
        *("1.00", "0.90", "2.00", ">= 1: met"),
    )
    assert rows[2] == ("", "", "bare disk", "4,000", "", "", "0.25", "", "", "")
    assert [row.figure for row in rows[::3]] == ["messages/s", "p50 ms", "p99 ms"]


def test_a_workload_that_writes_nothing_has_no_line_of_the_disk():
    both = [outcome("consume_fetch", measured(9), system=one) for one in ("queuesite", "nats")]
    assert {row.system for row in comparison_rows(both)} == {"queuesite", "nats"}


def test_notes_name_what_was_compared_and_who_took_part(outcomes):
    notes = "\n".join(comparison_notes([outcomes]))
    assert "3 round(s); messages compared: queuesite 30, nats 30" in notes
    assert "nats: NATS JetStream" in notes
    assert "queuesite 0.25, nats 0.25" in notes


def test_the_table_is_markdown_with_machine_date_and_commit(outcomes):
    lines = markdown([outcomes]).splitlines()
    assert lines[0].startswith("Measured on 20")
    assert ", commit " in lines[0]
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 9
    assert len({line.count("|") for line in table}) == 1
    assert set(table[1]) == set("|- :")


@pytest.mark.parametrize(
    ("system", "per_second", "aim"),
    [
        ("nats", 2_000, ">= 1: met"),
        ("nats", 2_001, ">= 1: missed"),
        ("python_floor", 4_000, ">= 0.5: met"),
        ("python_floor", 4_001, ">= 0.5: missed"),
        ("python_floor_growing", 4_000, ">= 0.5: met"),
        ("redis", 2_001, ""),
    ],
)
def test_a_ratio_has_an_aim_where_the_other_does_the_same(system, per_second, aim):
    ours = outcome("sync_1", measured(2_000))
    rows = comparison_rows([ours, outcome("sync_1", measured(per_second), system=system)])
    assert rows[1].aim == aim


def test_most_workloads_have_no_aim():
    both = [outcome("worker", measured(1)), outcome("worker", measured(9), system="nats")]
    assert {row.aim for row in comparison_rows(both)} == {""}
