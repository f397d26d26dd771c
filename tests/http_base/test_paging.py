from __future__ import annotations

from http_base.paging import Page, page_of


def test_a_page_with_a_row_behind_it_says_where_that_begins():
    assert page_of([3, 5, 9], 2, lambda row: row) == Page([3, 5], "5")


def test_the_last_page_has_nothing_after_it_also_when_it_is_full_or_empty():
    assert page_of(iter([3, 5]), 2, lambda row: row) == Page([3, 5], None)
    assert page_of([3], 2, lambda row: row) == Page([3], None)
    assert page_of([], 2, lambda row: row) == Page([], None)


def test_rows_are_made_into_something_else_and_the_place_stays():
    assert page_of(["b", "c"], 1, str).map(str.upper) == Page(["B"], "b")
