"""Sizes behind positions, against a log that remembers everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_app.size_marks import MARKS_MAX, SPACING_BYTES, SizeMarks


def test_an_empty_log_leaves_nothing_behind():
    marks = SizeMarks(7)
    assert marks.size_bytes == 0
    assert marks.last_leaving(1) == 7


def test_a_position_leaves_at_least_what_was_asked_for():
    marks = SizeMarks()
    for end in range(1, 11):
        marks.add(end, SPACING_BYTES)
    assert marks.size_bytes == 10 * SPACING_BYTES
    assert marks.last_leaving(3 * SPACING_BYTES) == 7
    assert marks.last_leaving(3 * SPACING_BYTES + 1) == 6
    assert marks.last_leaving(11 * SPACING_BYTES) == 0
    marks.cut(4)
    assert marks.size_bytes == 6 * SPACING_BYTES
    assert marks.last_leaving(7 * SPACING_BYTES) == 4


@given(st.lists(st.integers(1, 5_000), max_size=2_000), st.integers(0, 200_000), st.data())
def test_marks_are_bounded_and_never_promise_too_much(sizes, wanted, data):
    marks = SizeMarks()
    for end, size in enumerate(sizes, 1):
        marks.add(end, size)
    begin = data.draw(st.integers(0, len(sizes)))
    marks.cut(begin)
    assert len(marks.encode()[2]) <= MARKS_MAX + 1
    found = marks.last_leaving(wanted)
    assert found == begin or sum(sizes[found:]) >= wanted
    assert found >= begin
    assert marks.size_bytes >= sum(sizes[begin:])
    spacing = marks.encode()[0]
    assert marks.size_bytes < sum(sizes[begin:]) + spacing + 5_000
    again = SizeMarks.decode(*marks.encode())
    assert again.encode() == marks.encode()


def test_sizes_without_a_beginning_are_refused():
    with pytest.raises(ValueError, match="beginning"):
        SizeMarks.decode(1, 0, [])
