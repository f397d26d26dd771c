from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from myqueue.contract.rules.assignors import TopicPartition, assign

NAMES = ("a", "b", "c")
MEMBERS = ("k", "l", "m", "n")


def ones(topic, *indexes):
    return frozenset(TopicPartition(topic, index) for index in indexes)


@st.composite
def groups(draw, *, members=MEMBERS, count_max=5, same_topics=False):
    """A group: subscriptions, counts, and what the members hold, some of it out of date."""
    present = draw(st.lists(st.sampled_from(members), min_size=1, unique=True))
    counts = {name: draw(st.integers(0, count_max)) for name in NAMES}
    sets = st.sets(st.sampled_from(NAMES), min_size=1)
    shared = draw(sets)
    subscriptions = {member: shared if same_topics else draw(sets) for member in present}
    held = {member: set() for member in members}
    holders = (None, *members)
    places = list(itertools.product(NAMES, range(count_max + 1)))
    # The holders of all places are the digits of one number: to draw them one by one is slow.
    digits = draw(st.integers(0, len(holders) ** len(places) - 1))
    for name, index in places:
        digits, digit = divmod(digits, len(holders))
        if holder := holders[digit]:
            held[holder].add(TopicPartition(name, index))
    return subscriptions, counts, held


def everything(subscriptions, counts):
    wanted = sorted(set().union(*subscriptions.values()))
    return [TopicPartition(name, index) for name in wanted for index in range(counts[name])]


def imbalance(assignment):
    return sum(len(assigned) ** 2 for assigned in assignment.values())


def kept(assignment, held):
    return sum(len(assigned & held.get(member, set())) for member, assigned in assignment.items())


def best_by_trying_all(subscriptions, counts, held):
    """Return the least imbalance, and the most that can be kept with it."""
    partitions = everything(subscriptions, counts)
    choices = [
        [member for member in subscriptions if one.topic in subscriptions[member]]
        for one in partitions
    ]
    best = None
    for chosen in itertools.product(*choices):
        assignment = {member: set() for member in subscriptions}
        for one, member in zip(partitions, chosen, strict=True):
            assignment[member].add(one)
        score = (imbalance(assignment), -kept(assignment, held))
        best = score if best is None or score < best else best
    return best[0], -best[1]


@given(groups(count_max=9))
def test_every_partition_of_a_subscribed_topic_has_one_member_that_subscribed_it(group):
    subscriptions, counts, _ = group
    assignment = assign(*group)
    assert assignment.keys() == subscriptions.keys()
    assigned = [one for ones_of in assignment.values() for one in ones_of]
    assert sorted(assigned) == everything(subscriptions, counts)
    for member, ones_of in assignment.items():
        assert {one.topic for one in ones_of} <= subscriptions[member]


@given(groups(count_max=9))
def test_members_with_the_same_topics_differ_by_one_at_most(group):
    subscriptions = group[0]
    assignment = assign(*group)
    for one, other in itertools.combinations(subscriptions, 2):
        if subscriptions[one] == subscriptions[other]:
            assert abs(len(assignment[one]) - len(assignment[other])) <= 1


@given(groups(count_max=9))
def test_it_depends_on_the_values_alone(group):
    subscriptions, counts, held = group
    turned = (
        dict(reversed(subscriptions.items())),
        dict(reversed(counts.items())),
        {member: sorted(ones_of, reverse=True) for member, ones_of in reversed(held.items())},
    )
    assert assign(*group) == assign(*turned)


@given(groups(count_max=9))
def test_what_is_assigned_is_left_alone_when_nothing_else_changes(group):
    subscriptions, counts, _ = group
    assignment = assign(*group)
    assert assign(subscriptions, counts, assignment) == assignment


def test_who_takes_much_in_its_turn_gives_on_what_others_may_have():
    subscriptions = {"k": {"a", "b"}, "l": {"c"}, "m": {"a", "c"}}
    counts = {"a": 3, "b": 4, "c": 3}
    assignment = assign(subscriptions, counts, {"k": ones("a", 1, 2)})
    assert {member: len(assigned) for member, assigned in assignment.items()} == {
        "k": 4,
        "l": 3,
        "m": 3,
    }
    assert assign(subscriptions, counts, assignment) == assignment


@settings(deadline=None)
@given(groups(members=MEMBERS[:3], count_max=2))
def test_it_is_as_balanced_as_the_best_that_trying_all_finds(group):
    assert imbalance(assign(*group)) == best_by_trying_all(*group)[0]


@settings(deadline=None)
@given(groups(members=MEMBERS[:3], count_max=2))
def test_it_keeps_as_much_as_the_best_that_trying_all_finds(group):
    assert kept(assign(*group), group[2]) == best_by_trying_all(*group)[1]


@given(groups(count_max=9, same_topics=True), st.sampled_from(MEMBERS))
def test_who_stays_keeps_everything_when_another_leaves(group, leaver):
    subscriptions, counts, _ = group
    before = assign(*group)
    staying = {member: topics for member, topics in subscriptions.items() if member != leaver}
    after = assign(staying, counts, before)
    for member in staying:
        assert before[member] <= after[member]


@given(groups(count_max=9, same_topics=True))
def test_who_stays_takes_over_nothing_from_others_when_one_joins(group):
    subscriptions, counts, _ = group
    before = assign(*group)
    topics = next(iter(subscriptions.values()))
    after = assign({**subscriptions, "new": topics}, counts, before)
    for member in subscriptions:
        assert after[member] <= before[member]


@given(groups(count_max=9, same_topics=True), st.randoms())
def test_giving_up_what_is_too_much_changes_nothing_for_those_who_do(group, random):
    subscriptions, counts, held = group
    target = assign(*group)
    for member in random.sample(sorted(target), len(target)):
        held = {**held, member: held[member] & target[member]}
        again = assign(subscriptions, counts, held)
        for other in target:
            assert held[other] & target[other] <= again[other]


def test_a_member_without_subscribed_topics_that_exist_has_nothing():
    assert assign({"k": ["gone"], "l": ["a"]}, {"a": 2}, {}) == {
        "k": frozenset(),
        "l": ones("a", 0, 1),
    }
    assert assign({}, {"a": 2}, {}) == {}
    assert assign({"k": []}, {"a": 2}, {}) == {"k": frozenset()}


def test_a_chain_of_hand_overs_is_found():
    subscriptions = {"k": ["a"], "l": ["a", "b"], "m": ["b"]}
    held = {"k": ones("a", 0, 1, 2), "l": ones("b", 0, 1), "m": ones("b", 2)}
    assignment = assign(subscriptions, {"a": 3, "b": 3}, held)
    assert sorted(len(assigned) for assigned in assignment.values()) == [2, 2, 2]


def test_a_thousand_members_are_assigned_in_well_under_a_second():
    counts = {"a": 1_024, "b": 1_024, "c": 1_024}
    same = {f"{number:032x}": NAMES for number in range(1_000)}
    mixed = {member: NAMES[: 1 + number % 3] for number, member in enumerate(same)}
    for subscriptions in (same, mixed):
        before = assign(subscriptions, counts, {})
        staying = dict(list(subscriptions.items())[::2])
        started_s = time.perf_counter()
        assign(staying, counts, before)
        assert time.perf_counter() - started_s < 3
