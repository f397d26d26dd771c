from __future__ import annotations

from benchmarks.report import floor_lines, notes_of, number, render, rows_of
from tests.benchmarks.samples import floor, measured, outcome


def test_each_figure_stands_beside_target_and_floor():
    rows = rows_of(outcome("sync_1", measured(2_000, 1.0), measured(1_000, 0.5)))
    assert rows[0] == (
        *("sync_1", "messages/s", "1,500", "1,000", "2,000"),
        *("0.38", ">= 1,000", "met"),
    )
    assert rows[1] == ("", "p50 ms", "0.75", "0.50", "1.00", "3.00", "<= 0.9", "met")
    assert rows[2][6:] == ("", "")


def test_two_targets_of_a_figure_have_a_verdict_each():
    rows = rows_of(outcome("failover", measured(10, 80), measured(10, 2_000), measured(10, 90)))
    assert rows[0][5:] == ("", "<= 100, <= 300 (worst)", "met, missed")


def test_notes_tell_the_check_and_the_floor():
    notes = notes_of(outcome("produce_batch", measured(400_000)))
    assert "10 messages compared" in notes[0]
    assert "2,000,000 messages/s, p50 0.50 ms" in notes[1]


def test_a_workload_that_writes_nothing_has_no_floor():
    assert len(notes_of(outcome("consume_fetch", measured(400_000)))) == 1


def test_plain_text_has_aligned_columns(capsys):
    rows = rows_of(outcome("sync_1", measured(2_000)))
    render(rows, ["a note"], colours=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("workload  figure")
    assert len({line.find(text) for line, text in zip(lines, ["min", "2,000"], strict=False)}) <= 2
    assert lines[1].endswith(">= 1,000  met")
    assert lines[-1] == "a note"


def test_a_terminal_gets_a_table(capsys):
    render(rows_of(outcome("sync_1", measured(2_000))), [], colours=True)
    assert "sync_1" in capsys.readouterr().out


def test_every_kind_of_floor_has_a_line():
    assert floor_lines(floor())[1] == ("append 64 KiB + fdatasync: 2,000 writes/s, p50 0.50 ms")


def test_numbers_have_about_three_digits():
    assert [number(value) for value in (0.123, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]
