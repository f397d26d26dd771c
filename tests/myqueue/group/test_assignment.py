from __future__ import annotations

import pytest

from myqueue.group.assignment import Assignment
from myqueue.results import Message

ALL = {("logs", 0), ("logs", 1)}


def assignment(*, handed: int) -> Assignment:
    """Return one of two partitions, of which the first has two messages."""
    made = Assignment("g")
    assert made.change_to(ALL, 1)
    for one in made.held.values():
        one.start_at(0)
    first = made.held["logs", 0]
    first.adopt([Message("logs", 0, offset, "x") for offset in range(2)], 2, 0)
    first.take(handed)
    return made


def test_only_what_is_new_is_a_change() -> None:
    made = assignment(handed=0)
    kept = dict(made.held)
    assert not made.change_to(ALL, 2)
    assert made.held == kept
    assert {one.generation for one in made.held.values()} == {1}
    assert made.change_to({("logs", 1), ("logs", 2)}, 3)
    assert made.by_topic() == {"logs": [1, 2]}
    assert made.owned() == {"logs": [0, 1, 2]}
    assert made.held["logs", 2].generation == 3


def test_what_is_asked_for_goes_when_the_program_is_done_with_it() -> None:
    made = assignment(handed=2)
    first = made.held["logs", 0]
    made.change_to({("logs", 1)}, 2)
    assert not made.is_mine(first)
    assert not made.has_ready(None)
    assert not made.give_up()
    first.finish()
    assert not made.give_up(), "it is not committed yet"
    first.committed = first.finished
    assert made.give_up()
    assert (made.owned(), made.lost) == ({"logs": [1]}, set())


def test_what_is_abandoned_goes_although_it_is_in_hand() -> None:
    made = assignment(handed=1)
    assert not made.abandon_revoked()
    made.change_to({("logs", 1)}, 2)
    assert made.abandon_revoked()
    assert not made.abandon_revoked()
    assert made.give_up()
    assert made.lost == {("logs", 0)}


def test_what_comes_back_before_it_was_given_up_is_read_on() -> None:
    made = assignment(handed=0)
    made.change_to({("logs", 1)}, 2)
    made.change_to(ALL, 3)
    assert made.is_mine(made.held["logs", 0])
    assert made.has_ready([("logs", 0)])
    assert not made.has_ready([("logs", 1)])
    assert not made.give_up()


def test_a_loss_is_told_when_messages_of_it_are_worked_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = assignment(handed=1)
    first, second = made.held["logs", 0], made.held["logs", 1]
    made.lose(second)
    assert (made.lost, caplog.messages) == (set(), [])
    made.lose(first)
    made.lose(first)
    assert (made.lost, made.owned()) == ({("logs", 0)}, {})
    assert len(caplog.messages) == 1
    assert "logs/0 was lost to another member of group g" in caplog.text
