"""Tests of the majority rules, against deliberately slow second implementations."""

from __future__ import annotations

import random
from itertools import combinations

from raft_app.core.quorum import VoteResult, agreed_value, is_quorum, vote_result

SEEDS = range(300)


def majorities(voters: list[int]) -> list[set[int]]:
    """Return every set of more than half of the voters."""
    return [
        set(chosen)
        for size in range(len(voters) // 2 + 1, len(voters) + 1)
        for chosen in combinations(voters, size)
    ]


def slow_agreed_value(values: dict[int, int]) -> int:
    """Return the best value that all members of some majority have reached."""
    return max(min(values[voter] for voter in chosen) for chosen in majorities(list(values)))


def slow_vote_result(voters: list[int], votes: dict[int, bool]) -> VoteResult:
    """Try every way in which the missing votes may come out."""
    missing = [voter for voter in voters if voter not in votes]
    outcomes = set()
    for bits in range(2 ** len(missing)):
        full = votes | {voter: bool(bits >> i & 1) for i, voter in enumerate(missing)}
        granted = {voter for voter in voters if full[voter]}
        outcomes.add(any(chosen <= granted for chosen in majorities(voters)))
    if outcomes == {True}:
        return VoteResult.WON
    return VoteResult.LOST if outcomes == {False} else VoteResult.PENDING


def test_the_agreed_value_is_the_best_that_some_majority_has_reached():
    for seed in SEEDS:
        chance = random.Random(seed)
        values = {voter: chance.randrange(6) for voter in range(1, chance.randint(1, 7) + 1)}

        assert agreed_value(list(values.values())) == slow_agreed_value(values), seed


def test_an_election_is_decided_when_no_missing_vote_can_change_it():
    for seed in SEEDS:
        chance = random.Random(seed)
        voters = list(range(1, chance.randint(1, 7) + 1))
        votes = {voter: chance.random() < 0.5 for voter in [*voters, 8, 9] if chance.random() < 0.7}

        assert vote_result(voters, votes) is slow_vote_result(voters, votes), seed


def test_a_quorum_contains_a_majority():
    for seed in SEEDS:
        chance = random.Random(seed)
        voters = list(range(1, chance.randint(1, 7) + 1))
        present = {member for member in range(1, 10) if chance.random() < 0.5}

        expected = any(chosen <= present for chosen in majorities(voters))
        assert is_quorum(voters, present) is expected, seed


def test_nobody_agrees_and_nobody_wins_without_voters():
    assert agreed_value([]) == 0
    assert not is_quorum([], {1, 2})
    assert vote_result([], {1: True}) is VoteResult.LOST
