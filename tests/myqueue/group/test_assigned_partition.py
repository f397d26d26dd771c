from __future__ import annotations

from myqueue.group.assigned_partition import AssignedPartition
from myqueue.results import Message


def messages(*offsets: int) -> list[Message]:
    return [Message("logs", 0, offset, str(offset)) for offset in offsets]


def started(offset: int = 0) -> AssignedPartition:
    assigned = AssignedPartition(("logs", 0), 1)
    assigned.start_at(offset)
    return assigned


def test_only_what_the_program_came_back_for_is_to_be_committed() -> None:
    assigned = started(5)
    assigned.adopt(messages(5, 6, 7), 8, 5)
    assert not assigned.to_commit
    assert [one.offset for one in assigned.take(2)] == [5, 6]
    assert assigned.in_hand
    assert not assigned.to_commit
    assigned.finish()
    assert (assigned.finished, assigned.handed, assigned.fetched) == (7, 7, 8)
    assert assigned.to_commit


def test_it_goes_when_nothing_is_in_hand_and_everything_is_committed() -> None:
    assigned = started()
    assigned.adopt(messages(0, 1), 2, 0)
    assert not assigned.can_go
    assigned.is_revoked = True
    assert assigned.can_go
    assigned.take(1)
    assert not assigned.can_go
    assigned.abandoned = True
    assert assigned.can_go
    assigned.abandoned = False
    assigned.finish()
    assert not assigned.can_go
    assigned.committed = 1
    assert assigned.can_go


def test_an_answer_that_does_not_follow_is_ignored() -> None:
    assigned = started(3)
    assigned.adopt(messages(3, 4), 5, 3)
    assigned.adopt(messages(3, 4, 5), 6, 3)
    assert assigned.fetched == 5
    assert [one.offset for one in assigned.take(9)] == [3, 4]


def test_nothing_behind_another_place_is_ignored_too() -> None:
    assigned = started(10)
    assigned.start_at(2)
    assigned.adopt([], 10, 10)
    assert assigned.fetched == 2


def test_what_retention_deleted_is_skipped_and_counted() -> None:
    assigned = started(2)
    assert assigned.skip_to(6) == 4
    assert (assigned.finished, assigned.handed, assigned.fetched) == (6, 6, 6)
    assert assigned.skip_to(6) == 0


def test_what_is_in_hand_or_ready_is_not_skipped() -> None:
    assigned = started()
    assigned.adopt(messages(0, 1, 2), 3, 0)
    assigned.take(1)
    assert assigned.skip_to(10) == 7
    assert [one.offset for one in assigned.take(9)] == [1, 2]
    assert assigned.finished == 0
    assigned = started()
    assigned.adopt(messages(0), 1, 0)
    assigned.take(1)
    assert assigned.skip_to(10) == 9
    assert assigned.finished == 0
    assigned.finish()
    assert assigned.finished == 10


def test_what_is_taken_back_comes_again() -> None:
    assigned = started()
    assigned.adopt(messages(0, 1), 2, 0)
    (first,) = assigned.take(1)
    assigned.take_back(first)
    assert not assigned.in_hand
    assert [one.offset for one in assigned.take(2)] == [0, 1]
