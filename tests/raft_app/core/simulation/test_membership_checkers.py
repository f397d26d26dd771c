"""The checkers of changing groups find the violations that they are there for."""

from __future__ import annotations

from itertools import combinations

import pytest

from raft_app.core.types import Entry, EntryKind, Membership, RaftMember, SnapshotMeta
from tests.raft_app.core.simulation.checker import Violation
from tests.raft_app.core.simulation.membership_checkers import (
    CommittedMemberships,
    Installations,
    MembershipInForce,
    OneChangeAtATime,
    may_be_disjoint,
)


def group(*voters: int, learners: tuple[int, ...] = (), version: int = 0) -> Membership:
    """Return a membership of replicas that lie on brokers of the same number."""
    return Membership(
        tuple(RaftMember(number, number) for number in voters),
        tuple(RaftMember(number, number) for number in learners),
        version,
    )


def change(index: int, term: int, membership: Membership) -> Entry:
    """Return a MEMBERSHIP entry."""
    return Entry(index, term, EntryKind.MEMBERSHIP, membership.encode())


def noop(index: int, term: int) -> Entry:
    """Return a NOOP entry."""
    return Entry(index, term, EntryKind.NOOP)


COMMITTED = (change(1, 1, group(1, 2, 3)), noop(2, 2), noop(3, 2))


def majorities(voters: set[int]) -> list[set[int]]:
    needed = len(voters) // 2 + 1
    return [set(chosen) for chosen in combinations(sorted(voters), needed)]


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("other_size", range(1, 6))
def test_disjoint_majorities_are_counted_as_by_trying_all(size: int, other_size: int):
    one = set(range(1, size + 1))
    for first in range(1, size + 2):
        other = set(range(first, first + other_size))
        disjoint = any(not a & b for a in majorities(one) for b in majorities(other))
        assert may_be_disjoint(one, other) is disjoint


def test_one_change_after_the_one_before_and_an_entry_of_the_term_is_right():
    OneChangeAtATime().changed(
        change(4, 2, group(1, 2, 3, learners=(4,))),
        before=group(1, 2, 3),
        before_index=1,
        committed=COMMITTED,
    )


@pytest.mark.parametrize(
    ("entry", "before", "before_index", "what"),
    [
        (change(4, 3, group(1, 2)), group(1, 2, 3), 1, "of its term"),
        (change(5, 2, group(1, 2)), group(1, 2, 3), 4, "not committed"),
        (change(4, 2, group(1)), group(1, 2, 3), 1, "to more"),
        (change(4, 2, group(1, 2, 4)), group(1, 2, 3), 1, "to more"),
        (change(4, 2, group(1, 2)), group(1, 2, 3, version=1), 1, "goes back"),
    ],
)
def test_change_against_the_rules_is_found(
    entry: Entry, before: Membership, before_index: int, what: str
):
    with pytest.raises(Violation, match=what):
        OneChangeAtATime().changed(
            entry, before=before, before_index=before_index, committed=COMMITTED
        )


def committed(*memberships: Membership) -> CommittedMemberships:
    """Return the checker after the memberships were committed, one in each term from 1 on."""
    checker = CommittedMemberships()
    for term, membership in enumerate(memberships, 1):
        checker.committed(change(term, term, membership), term)
    return checker


def test_election_by_a_quorum_of_the_own_membership_is_right():
    checker = committed(group(1, 2, 3))
    checker.granted(2, 1, 2)
    checker.leads(1, 2, group(1, 2, 3))


@pytest.mark.parametrize("voter", [4, 9])
def test_vote_of_a_learner_or_a_stranger_that_was_counted_is_found(voter: int):
    checker = committed(group(1, 2, 3, learners=(4,)))
    checker.granted(voter, 1, 2)
    with pytest.raises(Violation, match="by the votes of"):
        checker.leads(1, 2, group(1, 2, 3, learners=(4,)))


def test_removed_replica_that_leads_is_found():
    checker = committed(group(1, 2, 3), group(1, 2))
    checker.granted(2, 3, 3)
    with pytest.raises(Violation, match="although it was removed"):
        checker.leads(3, 3, group(1, 2, 3))


def test_replica_that_was_removed_in_its_own_term_or_later_may_have_led_before():
    checker = committed(group(1, 2, 3), group(1, 2))
    checker.granted(2, 3, 2)
    checker.leads(3, 2, group(1, 2, 3))


def test_leader_whose_quorums_miss_those_of_the_group_is_found():
    checker = committed(group(1, 2, 3, 4), group(1, 2, 3))
    for voter in (4, 5):
        checker.granted(voter, 3, 3)
    with pytest.raises(Violation, match="miss quorums"):
        checker.leads(3, 3, group(1, 2, 3, 4, 5))
    with pytest.raises(Violation, match="miss quorums"):
        checker.commits(3, 3, group(1, 2, 3, 4, 5))


def test_wrong_membership_in_force_is_found():
    checker = MembershipInForce()
    checker.is_in_force(1, (3, group(1, 2)), (3, group(1, 2)))
    with pytest.raises(Violation, match="in force"):
        checker.is_in_force(1, (3, group(1, 2)), (1, group(1, 2, 3)))


def installs(meta: SnapshotMeta, *, applied_index: int = 0, held: tuple[Entry, ...] = ()) -> None:
    Installations().installs(1, meta, applied_index=applied_index, held=held, committed=COMMITTED)


def test_snapshot_of_what_is_committed_is_right():
    installs(SnapshotMeta(3, 2, group(1, 2, 3), 1), applied_index=2)


@pytest.mark.parametrize(
    ("meta", "applied_index", "held", "what"),
    [
        (SnapshotMeta(2, 2, group(1, 2, 3), 1), 2, (), "goes back"),
        (SnapshotMeta(2, 2, group(1, 2, 3), 1), 0, (noop(3, 2),), "forgets"),
        (SnapshotMeta(3, 1, group(1, 2, 3), 1), 0, (), "did not commit"),
        (SnapshotMeta(9, 2, group(1, 2, 3), 1), 0, (), "did not commit"),
        (SnapshotMeta(3, 2, group(1, 2), 1), 0, (), "the membership is"),
        (SnapshotMeta(3, 2, group(1, 2, 3), 2), 0, (), "the membership is"),
    ],
)
def test_wrong_snapshot_is_found(
    meta: SnapshotMeta, applied_index: int, held: tuple[Entry, ...], what: str
):
    with pytest.raises(Violation, match=what):
        installs(meta, applied_index=applied_index, held=held)


def test_acknowledgement_in_the_middle_of_an_installation_is_found():
    checker = Installations()
    checker.acknowledges(1, 5, is_installing=False)
    with pytest.raises(Violation, match="replaces its log"):
        checker.acknowledges(1, 5, is_installing=True)


@pytest.mark.parametrize("replaced_end", [None, (3, 9), (2, 99)])
def test_vote_for_a_log_that_is_as_good_as_the_replaced_one_is_right(
    replaced_end: tuple[int, int] | None,
):
    checker = Installations()
    checker.asked((1, 2, 7), end=(3, 9), replaced_end=replaced_end)
    checker.votes((1, 2, 7))


def test_vote_for_a_log_that_lacks_what_is_being_replaced_is_found():
    checker = Installations()
    checker.asked((1, 2, 7), end=(3, 9), replaced_end=(3, 10))
    with pytest.raises(Violation, match="votes for replica 2"):
        checker.votes((1, 2, 7))
