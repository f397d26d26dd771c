from __future__ import annotations

import pickle

import pytest

from myqueue.contract import errors
from myqueue.contract.errors import (
    BY_CODE,
    ClientError,
    CommitTimeout,
    Internal,
    NotLeader,
    QueueError,
    TopicDoesNotExist,
)

CLASSES = sorted(set(BY_CODE.values()), key=lambda cls: cls.code)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_survives_pickling(cls: type[QueueError]) -> None:
    error = cls("what was wrong", outcome="unknown")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is cls
    assert again.to_body() == error.to_body()
    assert not again.outcome_known


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = (errors.__doc__ or "").split("\n")
    for cls in CLASSES:
        (line,) = [line for line in drawn if line.split()[:1] == [cls.__name__]]
        if not issubclass(cls, ClientError) and cls is not QueueError:
            assert f"{cls.http_status} {cls.code}" in line
            assert ("retriable" in line or "at `" in line) == cls.retriable


def test_codes_are_unique() -> None:
    def below(cls: type[QueueError]) -> list[type[QueueError]]:
        return [one for child in cls.__subclasses__() for one in (child, *below(child))]

    codes = [cls.code for cls in below(QueueError)]
    assert len(codes) == len(set(codes))
    assert BY_CODE["INTERNAL"] is Internal


def test_a_missing_message_is_the_first_line_of_the_docstring() -> None:
    assert TopicDoesNotExist().message == "The topic does not exist; create it first."
    assert "leader" not in NotLeader("x", leader=None).details


def test_a_commit_timeout_is_always_of_unknown_outcome() -> None:
    assert not CommitTimeout().outcome_known
    assert CommitTimeout().to_body()["outcome"] == "unknown"
