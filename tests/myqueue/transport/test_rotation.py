from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest, NoLeader, PartitionNotFound
from myqueue.transport.rotation import REST, Turns, Wait, may_pass

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
    assert round(pauses[-1], 6) == REST.longest_s
    assert isinstance(turns.silent(ALL)[ALL[1]].error, NoLeader)
    assert turns.silent(ALL[:1]) == {}
    turns.answered(ALL[1], served=False)
    assert turns.silent(ALL) == {}


def test_a_failure_counts_from_the_first_in_a_row() -> None:
    turns = Turns()
    turns.failed(ALL[1], NoLeader("first"), 1.0)
    turns.failed(ALL[1], NoLeader("last"), 2.0)
    wait = Wait(None, now_s=1.0, patience_s=10.0)
    assert not turns.is_over(ALL, wait, 10.9)
    assert not turns.is_over(ALL[:1], wait, 12.0)
    with pytest.raises(NoLeader, match="last"):
        turns.is_over(ALL, wait, 11.0)
    turns.answered(ALL[1], served=False)
    turns.failed(ALL[1], NoLeader(), 5.0)
    assert not turns.is_over(ALL, wait, 12.0)


def test_a_failure_of_long_ago_does_not_count() -> None:
    turns = Turns()
    turns.failed(ALL[1], NoLeader(), 1.0)
    turns.failed(ALL[1], NoLeader(), 12.0, stale_s=10.0)
    wait = Wait(1.0, now_s=12.0, patience_s=10.0)
    assert turns.is_over(ALL, wait, 13.0)
    turns.failed(ALL[1], NoLeader(), 21.0, stale_s=10.0)
    with pytest.raises(NoLeader):
        turns.is_over(ALL, Wait(1.0, now_s=21.0, patience_s=10.0), 22.0)


def test_a_wait_with_a_timeout_ends_in_time_and_a_question_with_all_answers() -> None:
    turns = Turns()
    wait, question = (Wait(t, now_s=0.0, patience_s=10.0) for t in (2.0, 0.0))
    assert not turns.is_over(ALL, wait, 1.9)
    assert turns.is_over(ALL, question, 0.0)
    turns.failed(ALL[0], NoLeader(), 0.0)
    assert turns.is_over(ALL, wait, 2.0)
    assert not turns.is_over(ALL, question, 2.0)
    with pytest.raises(NoLeader):
        turns.is_over(ALL, question, 10.0)


def test_a_partition_that_is_being_made_or_moved_may_answer_later() -> None:
    assert may_pass(NoLeader())
    assert may_pass(PartitionNotFound())
    assert not may_pass(InvalidRequest())
