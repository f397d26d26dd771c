from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from myqueue.contract.errors import IllegalGeneration, Overloaded, UnknownMember
from myqueue.contract.group_inputs import by_topic
from myqueue.contract.rules import group_membership
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.group_membership import (
    GroupState,
    Member,
    Subscription,
    TopicShape,
    flattened,
)

SHAPES = {"a": TopicShape(4, 1), "b": TopicShape(2, 5)}


def subscription(*topics, session_timeout_ms=30_000):
    return Subscription(frozenset(topics or ("a",)), session_timeout_ms)


def joined(*members, shapes=SHAPES):
    state = GroupState()
    for member in members:
        state = group_membership.join(state, member, subscription(), shapes)
    return state


def indexes(state, member):
    return by_topic(state.members[member].assignment).get("a", [])


def beat(state, member, *, generation=None, owned=None):
    """Send a heartbeat of a member that did what it was told."""
    if owned is None:
        owned = state.members[member].assignment
    believed = state.generation if generation is None else generation
    return group_membership.heartbeat(state, member, generation=believed, owned=owned)


def a(*partitions):
    return frozenset(TopicPartition("a", index) for index in partitions)


def test_the_first_member_has_everything_at_generation_one():
    state = joined("k")
    assert state.generation == 1
    assert indexes(state, "k") == [0, 1, 2, 3]
    assert state.settled


def test_a_second_member_gets_its_share_once_the_first_gave_it_up():
    state = joined("k", "l")
    assert state.generation == 2
    assert (indexes(state, "k"), indexes(state, "l")) == ([0, 1], [])
    waiting = beat(state, "k", owned=a(0, 1, 2, 3))
    assert waiting is state
    assert beat(state, "l") is state
    state = beat(state, "k", owned=a(0, 1, 3))
    assert by_topic(state.members["k"].granted)["a"] == [0, 1, 3]
    state = beat(state, "l")
    assert indexes(state, "l") == [2]
    state = beat(beat(state, "k"), "l", owned=a(2))
    assert (indexes(state, "k"), indexes(state, "l")) == ([0, 1], [2, 3])
    assert state.settled
    assert state.generation == 2


def test_a_heartbeat_that_changes_nothing_returns_the_very_same_state():
    state = joined("k")
    assert beat(state, "k") is state
    assert beat(state, "k", generation=0) is state


def test_a_late_heartbeat_from_before_the_rebalance_gives_nothing_up():
    """It was sent when the member did not know yet what it was granted, and arrives afterwards."""
    state = joined("k", "l")
    assert beat(state, "k", generation=1, owned=a(0)) is state
    assert "a" in by_topic(state.members["k"].granted)
    assert beat(state, "l").members["l"].granted == frozenset()


def test_giving_up_counts_also_when_the_generation_went_on_meanwhile():
    state = joined("k", "l")
    state = group_membership.join(state, "m", subscription("b"), SHAPES)
    assert state.generation == 3
    state = beat(state, "k", generation=2)
    assert by_topic(state.members["k"].granted)["a"] == [0, 1]


def test_a_member_that_leaves_frees_what_it_held_at_once():
    state = beat(beat(joined("k", "l"), "k"), "l")
    state = group_membership.leave(state, ["k"])
    assert state.generation == 3
    state = beat(state, "l")
    assert indexes(state, "l") == [0, 1, 2, 3]
    assert group_membership.leave(state, ["k", "nobody"]) is state
    state = group_membership.leave(state, ["l"])
    assert (state.members, state.topics, state.generation) == ({}, {}, 4)


def test_who_owns_what_it_was_not_granted_must_join_again():
    state = joined("k", "l")
    with pytest.raises(IllegalGeneration) as raised:
        beat(state, "l", owned=a(2))
    assert raised.value.details["generation"] == 2
    with pytest.raises(IllegalGeneration):
        beat(state, "l", generation=3)
    assert beat(state, "k", owned=flattened({"a": [0, 1, 99, -1], "gone": [0]}))


def test_an_unknown_member_is_told_to_join():
    with pytest.raises(UnknownMember):
        beat(joined("k"), "l", owned=())


def test_joining_again_keeps_what_it_holds_and_begins_no_generation():
    state = joined("k", "l")
    assert group_membership.join(state, "k", subscription(), SHAPES) is state
    quicker = group_membership.join(state, "k", subscription(session_timeout_ms=5_000), SHAPES)
    assert quicker.generation == 2
    assert quicker.members["k"].session_timeout_ms == 5_000
    assert quicker.members["k"].granted == state.members["k"].granted


def test_a_new_subscription_keeps_the_old_partitions_until_they_are_given_up():
    state = beat(beat(joined("k", "l"), "k"), "l")
    held = state.members["k"].granted
    state = group_membership.join(state, "k", subscription("b"), SHAPES)
    assert state.generation == 3
    assert by_topic(state.members["k"].assignment) == {"b": [0, 1]}
    assert held < state.members["k"].granted
    state = beat(state, "l")
    assert indexes(state, "l") == [2, 3]
    state = beat(beat(state, "k"), "l")
    assert indexes(state, "l") == [0, 1, 2, 3]
    assert group_membership.follow(state, SHAPES) is state


def test_added_partitions_are_shared_out():
    state = beat(beat(joined("k", "l"), "k"), "l")
    grown = group_membership.follow(state, {**SHAPES, "a": TopicShape(6, 1)})
    assert grown.generation == 3
    grown = beat(beat(grown, "k"), "l")
    assert (indexes(grown, "k"), indexes(grown, "l")) == ([0, 1, 4], [2, 3, 5])
    assert group_membership.follow(state, {**SHAPES, "b": TopicShape(9, 5)}) is state


def test_a_deleted_topic_takes_its_grants_along_and_its_return_is_a_new_topic():
    state = joined("k")
    without = group_membership.follow(state, {})
    assert without.generation == 2
    assert without.members["k"].granted == frozenset()
    assert beat(without, "k", generation=1, owned=a(0, 1, 2, 3)) is without
    again = beat(group_membership.follow(without, SHAPES), "k", owned=())
    assert (again.generation, indexes(again, "k")) == (3, [0, 1, 2, 3])
    replaced = group_membership.follow(again, {"a": TopicShape(2, 50)})
    assert (replaced.generation, indexes(replaced, "k")) == (4, [])
    assert indexes(beat(replaced, "k"), "k") == [0, 1]


def test_a_full_group_takes_no_more_members_but_the_old_ones_back():
    members = dict.fromkeys(map(str, range(1_000)), Member(frozenset("b"), 30_000))
    full = GroupState(1, SHAPES, members)
    with pytest.raises(Overloaded):
        group_membership.join(full, "k", subscription(), SHAPES)
    assert group_membership.join(full, "7", subscription("a"), SHAPES).generation == 2


@dataclass
class Reader:
    """A member as its process sees it: it does what it is told, in its own time."""

    generation: int = 0
    owned: set = field(default_factory=set)
    told: frozenset = frozenset()

    def hear(self, state, member_id):
        self.generation = state.generation
        self.told = state.members[member_id].assignment
        self.owned |= self.told

    def give_up(self):
        self.owned &= self.told


class Schedules(RuleBasedStateMachine):
    """Joins, leaves, expiries, topics that grow, lost answers, late heartbeats, in any order."""

    def __init__(self):
        super().__init__()
        self.state = GroupState()
        self.shapes = dict(SHAPES)
        self.readers: dict[str, Reader] = {}
        self.sent: list[tuple[str, int, frozenset]] = []
        self.made = 0

    @rule(topics=st.sets(st.sampled_from("ab"), min_size=1))
    def join(self, topics):
        self.made += 1
        name = f"m{self.made}"
        before = self.state.generation
        self.state = group_membership.join(self.state, name, subscription(*topics), self.shapes)
        assert self.state.generation == before + 1
        self.readers[name] = Reader()
        self.readers[name].hear(self.state, name)

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), topics=st.sets(st.sampled_from("ab"), min_size=1))
    def subscribe(self, data, topics):
        name = data.draw(st.sampled_from(sorted(self.readers)))
        self.state = group_membership.join(self.state, name, subscription(*topics), self.shapes)
        self.readers[name].hear(self.state, name)

    @precondition(lambda self: self.readers)
    @rule(data=st.data(), gives_up=st.booleans(), answer_arrives=st.booleans())
    def beat(self, data, gives_up, answer_arrives):
        name = data.draw(st.sampled_from(sorted(self.readers)))
        reader = self.readers[name]
        if gives_up:
            reader.give_up()
        self.sent.append((name, reader.generation, frozenset(reader.owned)))
        self._arrive(*self.sent[-1])
        if answer_arrives:
            reader.hear(self.state, name)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def an_earlier_heartbeat_arrives_late(self, data):
        name, generation, owned = data.draw(st.sampled_from(self.sent))
        if name in self.readers:
            try:
                self._arrive(name, generation, owned)
            except IllegalGeneration:
                assert not owned <= self.state.members[name].granted

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def go(self, data):
        name = data.draw(st.sampled_from(sorted(self.readers)))
        self.state = group_membership.leave(self.state, [name])
        del self.readers[name]

    @rule(name=st.sampled_from("ab"))
    def grow(self, name):
        shape = self.shapes[name]
        self.shapes[name] = shape._replace(partitions=shape.partitions + 1)
        self.state = group_membership.follow(self.state, self.shapes)

    def _arrive(self, name, generation, owned):
        before = self.state
        self.state = group_membership.heartbeat(
            self.state, name, generation=generation, owned=owned
        )
        assert self.state.generation == before.generation

    @invariant()
    def no_partition_is_granted_twice(self):
        granted = [one for member in self.state.members.values() for one in member.granted]
        assert len(granted) == len(set(granted))

    @invariant()
    def nobody_reads_what_another_was_granted(self):
        for name, reader in self.readers.items():
            assert reader.owned <= self.state.members[name].granted

    @invariant()
    def a_target_is_the_whole_of_what_is_subscribed(self):
        subscribed = {name for member in self.state.members.values() for name in member.topics}
        targets = [one for member in self.state.members.values() for one in member.target]
        assert len(targets) == len(set(targets))
        assert len(targets) == sum(self.shapes[name].partitions for name in subscribed)

    def teardown(self):
        """Whatever happened: three rounds of heartbeats and everybody has its target."""
        for _ in range(3):
            for name, reader in self.readers.items():
                reader.give_up()
                self._arrive(name, reader.generation, frozenset(reader.owned))
                reader.hear(self.state, name)
        assert self.state.settled
        for name, reader in self.readers.items():
            assert reader.owned == self.state.members[name].target


Schedules.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestSchedules = Schedules.TestCase


@given(st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(0, 50)).map(sorted)))
def test_partitions_are_stored_by_topic_and_read_back(indexes_of):
    partitions = flattened(indexes_of)
    assert flattened(by_topic(partitions)) == partitions
    assert by_topic(partitions) == {name: of for name, of in sorted(indexes_of.items()) if of}
