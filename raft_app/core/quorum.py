"""Strict majorities, the only rule for commits, elections, reads and check-quorum."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class VoteResult(StrEnum):
    """Where an election stands."""

    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def agreed_value(values: Collection[int]) -> int:
    """Return the highest value that a majority has reached or passed; 0 without any voter.

    Args:
        values: one number for each voter, such as its match index.
    """
    if not values:
        return 0
    return sorted(values)[(len(values) - 1) // 2]


def is_quorum(voters: Collection[int], present: Collection[int]) -> bool:
    """Tell whether the voters among `present` are a strict majority of `voters`."""
    return sum(voter in present for voter in voters) * 2 > len(voters)


def vote_result(voters: Collection[int], votes: Mapping[int, bool]) -> VoteResult:
    """Count an election; votes of those who are no voters are ignored.

    Args:
        voters: replica ids that may vote; nobody wins when there are none.
        votes: replica id to "granted", for those who have answered.
    """
    granted = sum(votes.get(voter, False) for voter in voters)
    answered = sum(voter in votes for voter in voters)
    if granted * 2 > len(voters):
        return VoteResult.WON
    if (granted + len(voters) - answered) * 2 > len(voters):
        return VoteResult.PENDING
    return VoteResult.LOST
