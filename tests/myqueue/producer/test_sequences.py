from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.producer.sequences import PartitionSequence, Stamp


def test_sequences_count_messages() -> None:
    sequence = PartitionSequence()
    assert sequence.take(7, 3) == Stamp(7, 0, 0)
    assert sequence.take(7, 2) == Stamp(7, 0, 3)
    with pytest.raises(AssertionError):
        sequence.take(7, 0)


def test_a_restart_raises_the_epoch() -> None:
    sequence = PartitionSequence()
    sequence.take(7, 3)
    sequence.restart()
    assert sequence.take(7, 1) == Stamp(7, 1, 0)


def test_another_producer_starts_anew() -> None:
    sequence = PartitionSequence()
    sequence.take(7, 3)
    assert sequence.take(8, 3) == Stamp(8, 0, 0)


def test_only_the_last_stamp_can_be_given_back() -> None:
    sequence = PartitionSequence()
    first, second = sequence.take(7, 3), sequence.take(7, 2)
    assert not sequence.give_back(first, 3)
    assert sequence.give_back(second, 2)
    assert sequence.take(7, 1) == Stamp(7, 0, 3)
    sequence.restart()
    assert not sequence.give_back(first, 3)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans())))
def test_no_stamp_is_given_out_again_after_it_may_be_taken(steps: list[tuple[int, bool]]) -> None:
    sequence = PartitionSequence()
    taken: list[Stamp] = []
    for count, kept in steps:
        stamp = sequence.take(7, count)
        assert all(stamp > earlier for earlier in taken)
        if kept:
            taken.append(stamp)
        elif not sequence.give_back(stamp, count):
            sequence.restart()
