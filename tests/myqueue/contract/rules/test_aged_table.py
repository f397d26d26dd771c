"""Tables that know when their entries were last used."""

from __future__ import annotations

from myqueue.contract.rules.aged_table import FRESH, AgedTable


def test_entries_get_the_first_time_after_their_use() -> None:
    table: AgedTable[str, int] = AgedTable()
    table.put("a", 1)
    table.read_clock(10)
    table.put("b", 2)
    table.read_clock(20)
    table.put("a", 3)
    assert list(table.rows()) == [("b", 20, 2), ("a", FRESH, 3)]


def test_only_entries_used_before_a_time_are_idle() -> None:
    table: AgedTable[str, int] = AgedTable()
    for clock, key in ((10, "a"), (20, "b"), (30, "c")):
        table.put(key, clock)
        table.read_clock(clock)
    table.put("d", 40)
    assert table.idle_since(20) == ["a"]
    assert table.idle_since(21) == ["a", "b"]
    assert table.idle_since(10**9) == ["a", "b", "c"]


def test_it_is_known_without_looking_through_whether_forgetting_changes_anything() -> None:
    table: AgedTable[str, int] = AgedTable()
    assert not table.would_change(10**9)
    table.put("a", 1)
    assert table.would_change(0), "its age is not known"
    table.read_clock(10)
    table.put("b", 1)
    table.read_clock(20)
    for before_ms in (10, 11, 20, 21):
        assert table.would_change(before_ms) == bool(table.idle_since(before_ms))


def test_rows_rebuild_the_table() -> None:
    table: AgedTable[str, int] = AgedTable()
    table.put("a", 1)
    table.read_clock(5)
    table.put("b", 2)
    other: AgedTable[str, int] = AgedTable()
    other.load(table.rows())
    for one in (table, other):
        one.read_clock(9)
        one.remove("a")
        one.remove("never there")
    assert list(other.rows()) == list(table.rows()) == [("b", 9, 2)]
    assert (len(other), "b" in other, other.get("a")) == (1, True, None)
