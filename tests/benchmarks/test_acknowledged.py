from __future__ import annotations

import pytest

from benchmarks.acknowledged import Acknowledged, CheckFailed, compare_in_order


def acknowledged() -> Acknowledged:
    promises = Acknowledged()
    promises.add(2, [b"c"])
    promises.add(0, [b"a", "b"])
    return promises


def test_what_is_stored_as_promised_is_counted():
    assert acknowledged().compare(enumerate(["a", b"b", b"c"])) == 3


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ([b"a", b"b"], "1 acknowledged messages are lost"),
        ([b"a", b"b", b"x"], "offset 2 holds b'x', not b'c'"),
        ([b"b", b"a", b"c"], "offset 0 holds b'b'"),
        ([b"a", b"b", b"c", b"c"], "offset 3 was never acknowledged"),
    ],
)
def test_broken_promises_are_told(stored, complaint):
    with pytest.raises(CheckFailed, match=complaint):
        acknowledged().compare(enumerate(stored))


def test_a_gap_in_the_offsets_is_told():
    with pytest.raises(CheckFailed, match="offset 2 follows 0"):
        acknowledged().compare([(0, b"a"), (2, b"c")])


def test_an_offset_given_twice_is_told():
    promises = acknowledged()
    promises.add(1, [b"d"])
    with pytest.raises(CheckFailed, match="offset 1 was acknowledged twice"):
        promises.compare([])


def test_a_message_of_unknown_outcome_may_be_stored_once():
    promises = acknowledged()
    promises.add_unknown(b"d")
    assert promises.compare(enumerate([b"a", b"b", b"c"])) == 3
    assert promises.compare(enumerate([b"a", b"b", b"c", b"d"])) == 3
    with pytest.raises(CheckFailed, match="never acknowledged"):
        promises.compare(enumerate([b"a", b"b", b"c", b"d", b"d"]))


def test_reading_a_part_in_order_is_fine():
    assert compare_in_order([b"a", b"b", b"c"], ["a", b"b"]) == 2


@pytest.mark.parametrize("read", [[b"b"], [b"a", b"a"], [b"a", b"b", b"c", b"d"]])
def test_reading_something_else_is_told(read):
    with pytest.raises(CheckFailed):
        compare_in_order([b"a", b"b", b"c"], read)


def without_offsets() -> Acknowledged:
    promises = Acknowledged()
    promises.add(None, [b"a", b"b", b"a"], lane=1)
    promises.add(None, [b"x"], lane=2)
    promises.add(None, [b"y"], lane=2)
    return promises


@pytest.mark.parametrize("stored", [b"abaxy", b"xabya", b"xyaba"])
def test_without_offsets_each_lane_is_stored_in_its_order(stored):
    assert without_offsets().compare(enumerate(bytes([one]) for one in stored)) == 5


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        (b"abxy", "1 acknowledged messages are lost"),
        (b"aabxy", "offset 1 was never acknowledged"),
        (b"abayx", "offset 3 was never acknowledged: b'y'"),
        (b"abaxyx", "offset 5 was never acknowledged"),
    ],
)
def test_broken_promises_without_offsets_are_told(stored, complaint):
    with pytest.raises(CheckFailed, match=complaint):
        without_offsets().compare(enumerate(bytes([one]) for one in stored))


def test_without_offsets_a_message_of_unknown_outcome_may_be_anywhere():
    promises = without_offsets()
    promises.add_unknown(b"u")
    assert promises.compare(enumerate([b"a", b"u", b"b", b"a", b"x", b"y"])) == 5
