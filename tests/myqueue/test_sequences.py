from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from myqueue.sequences import PartitionSequence, Stamp


def test_sequences_count_acknowledged_messages() -> None:
    sequence = PartitionSequence()
    assert sequence.stamp(7) == Stamp(7, 0, 0)
    assert sequence.stamp(7) == Stamp(7, 0, 0)
    sequence.acknowledged(3)
    assert sequence.stamp(7) == Stamp(7, 0, 3)


def test_a_restart_raises_the_epoch() -> None:
    sequence = PartitionSequence()
    sequence.stamp(7)
    sequence.acknowledged(3)
    sequence.restart()
    assert sequence.stamp(7) == Stamp(7, 1, 0)


def test_another_producer_starts_anew() -> None:
    sequence = PartitionSequence()
    sequence.stamp(7)
    sequence.acknowledged(3)
    assert sequence.stamp(8) == Stamp(8, 0, 0)


@given(st.lists(st.integers(0, 5)))
def test_no_stamp_is_given_out_again_after_it_may_be_taken(steps: list[int]) -> None:
    sequence = PartitionSequence()
    taken: list[Stamp] = []
    for count in steps:
        stamp = sequence.stamp(7)
        assert all(stamp > earlier for earlier in taken)
        taken.append(stamp)
        if count:
            sequence.acknowledged(count)
        else:
            sequence.restart()
