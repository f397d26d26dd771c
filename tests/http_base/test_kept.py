"""What was kept, and what a disk has of it."""

from __future__ import annotations

import pytest

from http_base.kept import Found, Kept

KEPT = Kept(term=5, index=10, entry_term=4)


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        (Found(5, 10, 4), False),
        (Found(6, 12, 6), False),
        (Found(5, 11, 4), False),
        (Found(5, 8, 5), False),  # its leader had the entry, and a snapshot may end before it
        (Found(5, 9, 4), True),
        (Found(4, 10, 4), True),  # it may have voted in term 5
        (Found(5, 20, 3), True),  # longer, by entries that were overwritten since
    ],
)
def test_who_is_behind_by_term_or_as_in_an_election_lacks_something(found, lacks):
    assert found.lacks(KEPT) is lacks


def test_where_the_term_of_the_entry_is_not_remembered_its_index_counts():
    assert Found(5, 9, 4).lacks(Kept(5, 10))
    assert not Found(5, 10, 1).lacks(Kept(5, 10))
    assert Found(5, 9, 0).lacks(KEPT)
    assert not Found(5, 10, 0).lacks(KEPT), "an older broker does not say it"


def test_more_is_what_both_say_and_within_what_was_there():
    assert Kept(1, 7, 1).more(Kept(2, 3, 1)) == Kept(2, 7, 1)
    assert Kept(5, 10, 4).within(Found(4, 12, 3)) == Kept(4, 10, 3)
