from __future__ import annotations

from manager_app.console.charts import POINTS, ROWS, Chart, Line, chart_of
from manager_app.health.histories import STEP_S, Histories

NOW_S = 100_000.0


def histories(points):
    kept = Histories()
    for number in range(points, 0, -1):
        kept.put({"in": float(number), "out": None}, NOW_S - number * STEP_S)
    return kept


def chart(points):
    lines = [("In", "in"), ("Out", "out")]
    return chart_of(histories(points), "m", "Messages", "rate", lines=lines, now_s=NOW_S)


def test_a_chart_shows_ten_minutes_until_there_is_more():
    young = chart(40)
    assert young.step_s == 5.0
    assert len(young.lines[0].values) == POINTS
    assert young.lines[0].values[-1] == 1.0
    assert chart(200).step_s == 15.0
    assert chart(700).step_s == 30.0
    assert len(chart(700).lines[0].values) == POINTS


def test_a_chart_is_a_table_too_and_says_its_last_values():
    shown = chart(40)
    assert shown.latest == [("In", "1/s"), ("Out", "unknown")]
    assert len(shown.rows) == ROWS
    assert shown.rows[-1] == ("50 s ago", ["5.5/s", "unknown"])
    assert shown.data["lines"][1]["values"] == [None] * POINTS
    assert not shown.is_empty
    assert chart(0).is_empty
    assert Chart("k", "t", "rate", [], 5.0).rows == []


def test_values_are_written_in_their_units():
    lines = [Line("x", [0.25], 0.25)]
    written = {
        unit: Chart("k", "t", unit, lines, 5.0).latest[0][1]
        for unit in ("rate", "bytes", "seconds", "count")
    }
    assert written == {"rate": "0.2/s", "bytes": "0 B/s", "seconds": "250 ms", "count": "0.2"}


def test_a_chart_of_a_day_goes_as_far_back_as_there_is_something():
    kept = Histories()
    for minute in range(200):
        kept.put({"in": float(minute), "out": None}, NOW_S + minute * 60.0)
    now_s = NOW_S + 200 * 60.0
    lines = [("In", "in"), ("Out", "out")]
    shown = chart_of(kept, "m", "Messages", "rate", lines=lines, now_s=now_s, day=True)
    assert (shown.step_s, len(shown.lines[0].values)) == (180.0, POINTS)
    assert shown.lines[0].values[-1] > shown.lines[0].values[-2]
    assert shown.rows[0][0] == "6 h ago"
