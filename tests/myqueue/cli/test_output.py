from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from myqueue.cli.output import (
    Column,
    cell,
    count_of,
    duration_of,
    judged,
    say,
    show_object,
    show_rows,
    size_of,
)

COLUMNS = (
    Column("topic"),
    Column("lag", "number"),
    Column("disk_free_bytes", "size", "FREE"),
    Column("condition", "state"),
    Column("replicas"),
)
ROWS: list[dict[str, Any]] = [
    {"topic": "logs", "lag": 1_234_567, "disk_free_bytes": 3 << 29, "condition": "healthy"},
    {"topic": "a\tb\x1b[2J", "lag": None, "condition": "degraded", "replicas": ["x", "y"]},
]
PLAIN = SimpleNamespace(json=False)
JSON = SimpleNamespace(json=True, keys=("group", "rows"))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myqueue.cli.output.on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_pipe_gets_tabs_and_base_units(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(PLAIN, COLUMNS, ROWS)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "TOPIC\tLAG\tDISK_FREE_BYTES\tCONDITION\tREPLICAS",
        "logs\t1234567\t1610612736\thealthy\t-",
        "a\\tb\\x1b[2J\t-\t-\tdegraded\tx,y",
    ]


def test_a_terminal_gets_an_aligned_table(
    terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    show_rows(PLAIN, COLUMNS, ROWS)  # type: ignore[arg-type]
    assert capsys.readouterr().out.splitlines() == [
        "TOPIC              LAG     FREE  CONDITION  REPLICAS",
        "logs         1,234,567  1.5 GiB  healthy    -",
        "a\\tb\\x1b[2J          -        -  degraded   x,y",
    ]


def test_states_have_colours_where_they_are_allowed(
    terminal: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR")
    show_rows(PLAIN, COLUMNS, ROWS)  # type: ignore[arg-type]
    out = capsys.readouterr().out
    assert "\033[32mhealthy  \033[0m" in out
    assert "\033[33mdegraded \033[0m" in out
    monkeypatch.setenv("TERM", "dumb")
    show_rows(PLAIN, COLUMNS, ROWS)  # type: ignore[arg-type]
    assert "\033" not in capsys.readouterr().out


def test_json_is_an_object_a_row_with_the_columns_keys(
    terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    show_rows(JSON, COLUMNS, ROWS)  # type: ignore[arg-type]
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {**ROWS[0], "replicas": None}
    assert second["topic"] == "a\tb\x1b[2J"


def test_one_thing_is_one_object_or_facts_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"status": "success", "group": "g", "rows": [{"topic": "é"}]}
    table = (COLUMNS[:1], fields["rows"])
    show_object(JSON, fields, table, facts=(Column("group"),))  # type: ignore[arg-type]
    assert capsys.readouterr().out == '{"group": "g", "rows": [{"topic": "é"}]}\n'
    show_object(PLAIN, fields, table, facts=(Column("group"),))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "GROUP\tg\n\nTOPIC\né\n"


def test_facts_are_aligned_on_a_terminal(
    terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = (Column("group"), Column("generation", "number"))
    show_object(PLAIN, {"group": "g", "generation": 1_000}, facts=facts)  # type: ignore[arg-type]
    assert capsys.readouterr().out == "GROUP       g\nGENERATION  1,000\n"


def test_what_was_done_is_a_sentence_or_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    say(PLAIN, "topic logs deleted", topic="logs")  # type: ignore[arg-type]
    say(JSON, "topic logs deleted", topic="logs")  # type: ignore[arg-type]
    assert capsys.readouterr().out == 'topic logs deleted\n{"topic": "logs"}\n'


@pytest.mark.parametrize(
    ("kind", "value", "plain", "shown"),
    [
        ("duration", 90_000, "90000", "1.5 min"),
        ("duration", 0, "0", "0 ms"),
        ("state", True, "true", "yes"),
        ("number", 1234.5, "1234.5", "1,234.5"),
        ("text", "", "-", "-"),
    ],
)
def test_units_are_for_people(kind: Any, value: Any, plain: str, shown: str) -> None:
    assert cell(Column("x", kind), value, is_terminal=False) == plain
    assert cell(Column("x", kind), value, is_terminal=True) == shown


def test_times_are_local_for_people() -> None:
    assert cell(Column("x", "time"), 1_700_000_000_000, is_terminal=True).startswith("2023-11-1")


def test_sizes_and_durations_have_units() -> None:
    assert [size_of(n) for n in (0, 1023, 1 << 20, 1 << 61)] == [
        "0 B",
        "1,023 B",
        "1.0 MiB",
        "2,048.0 PiB",
    ]
    assert [duration_of(s) for s in (0.25, 1, 90, 7_200, 86_400)] == [
        "250 ms",
        "1 s",
        "1.5 min",
        "2 h",
        "1 d",
    ]


def test_one_thing_is_not_several() -> None:
    assert [count_of(n, "message") for n in range(3)] == ["0 messages", "1 message", "2 messages"]


def test_the_worst_word_counts() -> None:
    assert judged("alive, draining") == "odd"
    assert judged("dead, draining") == "bad"
    assert judged("-") is None
