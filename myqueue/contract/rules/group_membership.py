"""Coordination of one consumer group as pure functions: a state and an event give the next state.

Events are join, heartbeat, leave and changed topics; those that change members, subscriptions or
partitions begin a generation, with new targets. The rebalance is cooperative, without a barrier: a
member reads the partitions that it was granted and that are in its target. It gives up the others
with a heartbeat; only then are they granted to another. A function returns the very same state when
nothing changed, so that nothing has to be stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from myqueue.contract import retry_after
from myqueue.contract.answers import MemberAssignment
from myqueue.contract.errors import IllegalGeneration, Overloaded, UnknownMember
from myqueue.contract.group_inputs import HEARTBEATS_PER_SESSION, by_topic
from myqueue.contract.rules.assignors import TopicPartition, assign

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MEMBERS_MAX = 1_000
"""Members of one group; a rebalance assigns partitions to all of them at once."""
SILENCE_OF_SESSION = 0.75
"""After this share of its session timeout without a heartbeat a member is removed: the rest of the
time is for the heartbeats by which the others take over its partitions."""
HEARTBEAT_INTERVAL_MAX_MS = 3_000
"""Longest interval between heartbeats, whatever the session timeout: a member learns of a rebalance
by its next heartbeat."""
HEARTBEAT_INTERVAL_MOVING_MS = 500
"""Interval during a rebalance: each partition that moves takes a heartbeat of its old member and
one of its new member."""

Partitions = frozenset[TopicPartition]
NOTHING: Partitions = frozenset()


class TopicShape(NamedTuple):
    """The part of a topic that an assignment depends on."""

    partitions: int
    first_group_id: int
    """Tells a topic from an earlier one of the same name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a group."""

    topics: frozenset[str]
    session_timeout_ms: int
    granted: Partitions = NOTHING
    """Partitions that it may own: assigned to it and not given up. No two members share any."""
    target: Partitions = NOTHING
    """Partitions that it is to own once the rebalance is over."""
    revoked_generation: int = 0
    """The generation that last took a partition from it; a heartbeat of an earlier one was sent
    before the member could know, and gives nothing up."""

    @property
    def assignment(self) -> Partitions:
        """The partitions that it may read now."""
        return self.granted & self.target

    @property
    def silence_ms(self) -> float:
        """Milliseconds without a heartbeat after which it is removed."""
        return SILENCE_OF_SESSION * self.session_timeout_ms


@dataclass(frozen=True)
class GroupState:
    """A group; the invariants hold in every state that these functions return."""

    generation: int = 0
    topics: Mapping[str, TopicShape] = field(default_factory=dict)
    """The subscribed topics that exist, in the shapes that the targets were made for."""
    members: Mapping[str, Member] = field(default_factory=dict)
    """By member id. The targets share the topics' partitions, the grants never overlap."""

    @cached_property
    def holders(self) -> Mapping[TopicPartition, str]:
        """Partition -> id of the member that it was granted to."""
        return {one: name for name, member in self.members.items() for one in member.granted}

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The topics that a member subscribes, or of which it was granted a partition."""
        subscribed = (member.topics for member in self.members.values())
        return frozenset({one.topic for one in self.holders}).union(*subscribed)

    @cached_property
    def settled(self) -> bool:
        """True when no rebalance is under way: every member was granted exactly its target."""
        return all(member.granted == member.target for member in self.members.values())

    def member(self, member_id: str) -> Member:
        """Return a member.

        Raises:
            UnknownMember: there is none of this id.
        """
        found = self.members.get(member_id)
        if found is None:
            raise UnknownMember(
                f"the group has no member {member_id[:40]!r}: join it again without a member_id",
                field="member_id",
            )
        return found

    def exists(self, one: TopicPartition) -> bool:
        """Tell whether a partition exists."""
        shape = self.topics.get(one.topic)
        return shape is not None and 0 <= one.partition < shape.partitions


def assignment_of(group: str, state: GroupState, member_id: str) -> MemberAssignment:
    """Return what a member of a group is told in the answer to a join or a heartbeat.

    Raises:
        UnknownMember: there is none of this id.
    """
    member = state.member(member_id)
    often = HEARTBEAT_INTERVAL_MAX_MS if state.settled else HEARTBEAT_INTERVAL_MOVING_MS
    return MemberAssignment(
        group=group,
        member_id=member_id,
        generation=state.generation,
        assignment=by_topic(member.assignment),
        heartbeat_interval_ms=min(often, member.session_timeout_ms // HEARTBEATS_PER_SESSION),
        session_timeout_ms=member.session_timeout_ms,
    )


@dataclass(frozen=True, slots=True)
class Subscription:
    """Topics and session timeout of a member, as it joins."""

    topics: frozenset[str]
    session_timeout_ms: int


def follow(state: GroupState, shapes: Mapping[str, TopicShape]) -> GroupState:
    """Rebalance for the topics as they are now; grants of deleted partitions are void.

    Args:
        state: of the group.
        shapes: of all topics, or at least of those in `state.wanted`.
    """
    present = _of(state.wanted, shapes)
    if present == _of(state.wanted, state.topics):
        return state
    return _revise(state, state.members, present)


def join(
    state: GroupState,
    member_id: str,
    subscription: Subscription,
    shapes: Mapping[str, TopicShape],
) -> GroupState:
    """Add a member, or change the subscription of a known one, which keeps its grants for now.

    Raises:
        Overloaded: the group is full.
    """
    known = state.members.get(member_id)
    if known is None and len(state.members) >= MEMBERS_MAX:
        raise Overloaded(
            f"the group has {MEMBERS_MAX} members, the limit", retry_after_ms=retry_after.LIMIT_MS
        )
    before = known or Member(subscription.topics, subscription.session_timeout_ms)
    member = replace(
        before,
        topics=subscription.topics,
        session_timeout_ms=subscription.session_timeout_ms,
    )
    members = {**state.members, member_id: member}
    wanted = GroupState(members=members).wanted
    present = _of(wanted, shapes)
    if known is None or known.topics != subscription.topics or present != _of(wanted, state.topics):
        return _grant(_revise(state, members, present), member_id)
    return _grant(replace(state, members=members) if member != known else state, member_id)


def heartbeat(
    state: GroupState, member_id: str, *, generation: int, owned: Collection[TopicPartition]
) -> GroupState:
    """Note which partitions a member still owns; those that it gave up become free.

    Args:
        state: of the group.
        member_id: of the member.
        generation: the latest that the member knows of.
        owned: partitions that it reads, or has uncommitted offsets of.

    Raises:
        UnknownMember: there is none of this id.
        IllegalGeneration: it owns a partition that it was not granted, or knows a later generation.
    """
    member = state.member(member_id)
    present = frozenset(one for one in owned if state.exists(one))
    if generation > state.generation or not present <= member.granted:
        strange = sorted(present - member.granted)
        raise IllegalGeneration(
            f"the group is at generation {state.generation} and did not grant"
            f" {[tuple(one) for one in strange[:5]]} to this member: join again and own nothing",
            field="owned" if strange else "generation",
            generation=state.generation,
        )
    if generation >= member.revoked_generation:
        kept = member.granted & (member.target | present)
        if kept != member.granted:
            state = _with_member(state, member_id, replace(member, granted=kept))
    return _grant(state, member_id)


def leave(state: GroupState, member_ids: Iterable[str]) -> GroupState:
    """Remove members that left or were silent; their partitions become free."""
    gone = state.members.keys() & set(member_ids)
    if not gone:
        return state
    members = {name: member for name, member in state.members.items() if name not in gone}
    return _revise(state, members, _of(GroupState(members=members).wanted, state.topics))


def flattened(indexes: Mapping[str, Iterable[int]]) -> Partitions:
    """Return the partitions of topic -> indexes."""
    return frozenset(TopicPartition(name, index) for name, of in indexes.items() for index in of)


def _of(names: Iterable[str], shapes: Mapping[str, TopicShape]) -> dict[str, TopicShape]:
    return {name: shapes[name] for name in sorted(names) if name in shapes}


def _revise(
    state: GroupState, members: Mapping[str, Member], topics: Mapping[str, TopicShape]
) -> GroupState:
    """Begin a generation with these members and topics: new targets, and the grants still valid."""
    generation = state.generation + 1
    revised = GroupState(generation, topics)

    def is_same(one: TopicPartition) -> bool:
        before = state.topics.get(one.topic)
        return (
            revised.exists(one)
            and before is not None
            and before.first_group_id == topics[one.topic].first_group_id
        )

    granted = {
        name: frozenset(one for one in member.granted if is_same(one))
        for name, member in members.items()
    }
    targets = assign(
        {name: member.topics for name, member in members.items()},
        {name: shape.partitions for name, shape in topics.items()},
        granted,
    )
    return replace(
        revised,
        members={
            name: replace(
                member,
                granted=granted[name],
                target=targets[name],
                revoked_generation=(
                    generation
                    if granted[name] & member.target - targets[name]
                    else member.revoked_generation
                ),
            )
            for name, member in members.items()
        },
    )


def _grant(state: GroupState, member_id: str) -> GroupState:
    """Grant a member the partitions of its target that nobody holds."""
    member = state.members[member_id]
    free = frozenset(one for one in member.target - member.granted if one not in state.holders)
    if not free:
        return state
    return _with_member(state, member_id, replace(member, granted=member.granted | free))


def _with_member(state: GroupState, member_id: str, member: Member) -> GroupState:
    return replace(state, members={**state.members, member_id: member})
