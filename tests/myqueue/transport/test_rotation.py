from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest, NoLeader, PartitionNotFound
from myqueue.transport.rotation import SILENT_PAUSE, PartitionRotation, Wait, is_over, may_pass

ALL = [("logs", 0), ("logs", 1), ("logs", 2)]


def test_the_partition_after_the_one_served_last_comes_first() -> None:
    rotation = PartitionRotation()
    assert rotation.order(ALL, 0.0) == ALL
    rotation.answered(ALL[0], served=True)
    rotation.answered(ALL[1], served=False)
    assert rotation.order(ALL, 0.0) == [ALL[1], ALL[2], ALL[0]]
    assert rotation.after_last([("other", 0)]) == [("other", 0)]


def test_a_partition_that_fails_rests_longer_each_time_and_not_for_ever() -> None:
    rotation, now_s, pauses = PartitionRotation(), 0.0, []
    for _ in range(8):
        rotation.failed(ALL[1], NoLeader(), now_s, asked_s=now_s)
        assert rotation.order(ALL, now_s) == [ALL[0], ALL[2]]
        retry_s = rotation.silent(ALL)[ALL[1]].retry_s
        pauses.append(retry_s - now_s)
        now_s = retry_s
        assert ALL[1] in rotation.order(ALL, now_s)
    assert pauses == sorted(pauses)
    assert round(pauses[-1], 6) == SILENT_PAUSE.longest_s
    assert isinstance(rotation.silent(ALL)[ALL[1]].error, NoLeader)
    assert rotation.silent(ALL[:1]) == {}
    rotation.answered(ALL[1], served=False)
    assert rotation.silent(ALL) == {}


def test_a_failure_counts_from_the_first_in_a_row() -> None:
    rotation = PartitionRotation()
    rotation.failed(ALL[1], NoLeader("first"), 1.0, asked_s=0.5)
    rotation.failed(ALL[1], NoLeader("last"), 2.0, asked_s=1.5)
    wait = Wait(None, now_s=1.0, patience_s=10.0)
    assert not is_over(rotation.silent(ALL), wait, 10.9)
    assert not is_over(rotation.silent(ALL[:1]), wait, 12.0)
    with pytest.raises(NoLeader, match="last"):
        is_over(rotation.silent(ALL), wait, 11.0)
    rotation.answered(ALL[1], served=False)
    rotation.failed(ALL[1], NoLeader(), 5.0, asked_s=5.0)
    assert not is_over(rotation.silent(ALL), wait, 12.0)


def test_a_failure_of_long_ago_does_not_count() -> None:
    rotation = PartitionRotation()
    rotation.failed(ALL[1], NoLeader(), 1.0, asked_s=1.0)
    rotation.failed(ALL[1], NoLeader(), 12.0, asked_s=12.0, stale_s=10.0)
    wait = Wait(1.0, now_s=12.0, patience_s=10.0)
    assert is_over(rotation.silent(ALL), wait, 13.0)
    rotation.failed(ALL[1], NoLeader(), 21.0, asked_s=21.0, stale_s=10.0)
    with pytest.raises(NoLeader):
        is_over(rotation.silent(ALL), Wait(1.0, now_s=21.0, patience_s=10.0), 22.0)


def test_a_wait_with_a_timeout_ends_in_time_and_a_question_with_all_answers() -> None:
    rotation = PartitionRotation()
    wait, question = (Wait(t, now_s=0.0, patience_s=10.0) for t in (2.0, 0.0))
    assert not is_over(rotation.silent(ALL), wait, 1.9)
    assert is_over(rotation.silent(ALL), question, 0.0)
    rotation.failed(ALL[0], NoLeader(), 0.0, asked_s=0.0)
    assert is_over(rotation.silent(ALL), wait, 2.0)
    assert not is_over(rotation.silent(ALL), question, 2.0)
    with pytest.raises(NoLeader):
        is_over(rotation.silent(ALL), question, 10.0)


def test_a_partition_that_is_being_made_or_moved_may_answer_later() -> None:
    assert may_pass(NoLeader())
    assert may_pass(PartitionNotFound())
    assert not may_pass(InvalidRequest())


def test_a_wait_takes_no_longer_than_its_timeout_and_servers_answer_before() -> None:
    wait = Wait(1.0, now_s=10.0, patience_s=10.0)
    assert wait.limit_s == wait.deadline_s == 11.0
    assert [wait.hold_ms(now_s) for now_s in (10.0, 10.5, 10.95, 12.0)] == [900, 400, 0, 0]
    # Answers that are on the way come in, or calls with a short timeout would never get any.
    short = Wait(0.001, now_s=10.0, patience_s=10.0)
    assert (short.limit_s, short.hold_ms(10.0)) == (10.5, 1)
    assert Wait(1.0, now_s=10.0, patience_s=10.0, grace_s=0.5).limit_s == 11.5
    assert Wait(None, now_s=10.0, patience_s=10.0).hold_ms(10.0) > 86_400_000
