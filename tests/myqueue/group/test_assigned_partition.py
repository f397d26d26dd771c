from __future__ import annotations

from myqueue.group.assigned_partition import Holding
from myqueue.results import Message


def messages(*offsets: int) -> list[Message]:
    return [Message("logs", 0, offset, str(offset)) for offset in offsets]


def started(offset: int = 0) -> Holding:
    holding = Holding(("logs", 0), 1)
    holding.start_at(offset)
    return holding


def test_only_what_the_program_came_back_for_is_to_be_committed() -> None:
    holding = started(5)
    holding.adopt(messages(5, 6, 7), 8, 5)
    assert not holding.to_commit
    assert [one.offset for one in holding.take(2)] == [5, 6]
    assert holding.in_hand
    assert not holding.to_commit
    holding.finish()
    assert (holding.finished, holding.handed, holding.fetched) == (7, 7, 8)
    assert holding.to_commit


def test_it_goes_when_nothing_is_in_hand_and_everything_is_committed() -> None:
    holding = started()
    holding.adopt(messages(0, 1), 2, 0)
    assert not holding.can_go
    holding.revoked_s = 1.0
    assert holding.can_go
    holding.take(1)
    assert not holding.can_go
    holding.abandoned = True
    assert holding.can_go
    holding.abandoned = False
    holding.finish()
    assert not holding.can_go
    holding.committed = 1
    assert holding.can_go


def test_an_answer_that_does_not_follow_is_ignored() -> None:
    holding = started(3)
    holding.adopt(messages(3, 4), 5, 3)
    holding.adopt(messages(3, 4, 5), 6, 3)
    assert holding.fetched == 5
    assert [one.offset for one in holding.take(9)] == [3, 4]


def test_nothing_behind_another_place_is_ignored_too() -> None:
    holding = started(10)
    holding.start_at(2)
    holding.adopt([], 10, 10)
    assert holding.fetched == 2


def test_what_retention_deleted_is_skipped_and_counted() -> None:
    holding = started(2)
    assert holding.skip_to(6) == 4
    assert (holding.finished, holding.handed, holding.fetched) == (6, 6, 6)
    assert holding.skip_to(6) == 0


def test_what_is_in_hand_or_ready_is_not_skipped() -> None:
    holding = started()
    holding.adopt(messages(0, 1, 2), 3, 0)
    holding.take(1)
    assert holding.skip_to(10) == 7
    assert [one.offset for one in holding.take(9)] == [1, 2]
    assert holding.finished == 0
    holding = started()
    holding.adopt(messages(0), 1, 0)
    holding.take(1)
    assert holding.skip_to(10) == 9
    assert holding.finished == 0
    holding.finish()
    assert holding.finished == 10


def test_what_is_taken_back_comes_again() -> None:
    holding = started()
    holding.adopt(messages(0, 1), 2, 0)
    (first,) = holding.take(1)
    holding.take_back(first)
    assert not holding.in_hand
    assert [one.offset for one in holding.take(2)] == [0, 1]
