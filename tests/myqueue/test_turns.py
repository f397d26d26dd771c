from __future__ import annotations

from myqueue.errors import InvalidRequest, NoLeader, PartitionNotFound
from myqueue.turns import LONGEST_PAUSE_S, Turns, may_pass

ALL = [("logs", 0), ("logs", 1), ("logs", 2)]


def test_the_partition_after_the_one_served_last_comes_first() -> None:
    turns = Turns()
    assert turns.order(ALL, 0.0) == ALL
    turns.answered(ALL[0], served=True)
    turns.answered(ALL[1], served=False)
    assert turns.order(ALL, 0.0) == [ALL[1], ALL[2], ALL[0]]


def test_a_partition_that_fails_rests_longer_each_time_and_not_for_ever() -> None:
    turns, now_s, pauses = Turns(), 0.0, []
    for _ in range(8):
        turns.failed(ALL[1], NoLeader(), now_s)
        assert turns.order(ALL, now_s) == [ALL[0], ALL[2]]
        retry_s = turns.silent(ALL)[ALL[1]].retry_s
        pauses.append(retry_s - now_s)
        now_s = retry_s
        assert ALL[1] in turns.order(ALL, now_s)
    assert pauses == sorted(pauses)
    assert round(pauses[-1], 6) == LONGEST_PAUSE_S
    assert isinstance(turns.silent(ALL)[ALL[1]].error, NoLeader)
    assert turns.silent(ALL[:1]) == {}
    turns.answered(ALL[1], served=False)
    assert turns.silent(ALL) == {}


def test_a_failure_counts_from_the_first_in_a_row() -> None:
    turns = Turns()
    turns.failed(ALL[1], NoLeader("first"), 1.0)
    turns.failed(ALL[1], NoLeader("last"), 2.0)
    assert turns.failure(ALL, 0.9) is None
    assert turns.failure(ALL[:1], 3.0) is None
    error = turns.failure(ALL, 1.0)
    assert error is not None
    assert error.message == "last"
    turns.answered(ALL[1], served=False)
    turns.failed(ALL[1], NoLeader(), 5.0)
    assert turns.failure(ALL, 4.0) is None


def test_a_partition_that_is_being_made_or_moved_may_answer_later() -> None:
    assert may_pass(NoLeader())
    assert may_pass(PartitionNotFound())
    assert not may_pass(InvalidRequest())
