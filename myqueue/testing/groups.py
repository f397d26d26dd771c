"""Consumer groups of a queue in memory: members at its manager, offsets at its brokers.

Which member is dead, and who is assigned which partitions in which generation, is decided by
`myqueue.contract.rules.group_membership`, as in a manager.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import uuid4

from msgspec.structs import asdict

from myqueue.contract.errors import (
    GroupActive,
    GroupNotFound,
    InvalidRequest,
    MethodNotAllowed,
    PartitionNotFound,
    UnknownMember,
)
from myqueue.contract.group_inputs import (
    GroupHeartbeat,
    GroupJoin,
    GroupLeave,
    GroupOffsetsReset,
    Offsets,
    OffsetsCommit,
    by_topic,
    check_group_name,
)
from myqueue.contract.inputs import DEFAULT_PAGE, read_input
from myqueue.contract.rules import group_membership
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.group_membership import GroupState, Subscription, TopicShape
from myqueue.testing.partition import COUNTED
from myqueue.testing.state import decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.contract.http1 import Request
    from myqueue.testing.partition import MemoryPartition
    from myqueue.testing.state import MemoryState


@dataclass
class MemoryGroup:
    """A consumer group with the heartbeats of its members."""

    state: GroupState = field(default_factory=GroupState)
    beaten_ms: dict[str, int] = field(default_factory=dict)
    """Member id -> its last heartbeat."""

    def expire(self, now_ms: int) -> None:
        """Remove members whose heartbeats stopped."""
        silent = [
            name
            for name, member in self.state.members.items()
            if now_ms - self.beaten_ms[name] > member.silence_ms
        ]
        self.state = group_membership.leave(self.state, silent)


class MemoryGroups:
    """The calls of groups, at the manager and at the brokers.

    Args:
        state: that the manager and the brokers share.
    """

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self.by_name: dict[str, MemoryGroup] = {}
        """Groups that have, or had, members."""

    def answer(self, request: Request) -> Any:
        """Answer a call below `/groups`, as a manager does."""
        parts = request.path.split("/")
        if len(parts) == 2:
            return self._list(request)
        name = check_group_name(unquote(parts[2]))
        calls: dict[tuple[str, tuple[str, ...]], Callable[[str, Request], Any]] = {
            ("POST", ("join",)): self._join,
            ("POST", ("heartbeat",)): self._heartbeat,
            ("POST", ("leave",)): self._leave,
            ("GET", ()): self._describe,
            ("DELETE", ()): self._delete,
            ("PUT", ("offsets",)): self._reset,
        }
        call = calls.get((request.method, tuple(parts[3:])))
        if call is None:
            raise MethodNotAllowed(f"{request.path} does not take {request.method}")
        for group in self.by_name.values():
            group.expire(self._state.now_ms())
            group.state = group_membership.follow(group.state, self._shapes())
        return call(name, request)

    def _join(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupJoin, decoded(request))
        for topic in call.topics:
            self._state.partitions_of(topic)
        group = self.by_name.get(name) or MemoryGroup()
        if call.member_id is not None:
            group.state.member(call.member_id)
        member_id = call.member_id or uuid4().hex
        floor = max(one.group_offsets.get(name, (0, 0))[0] for _, _, one in self._partitions())
        raised = replace(group.state, generation=max(group.state.generation, floor))
        subscription = Subscription(frozenset(call.topics), call.session_timeout_ms)
        group.state = group_membership.join(raised, member_id, subscription, self._shapes())
        group.beaten_ms[member_id] = self._state.now_ms()
        self.by_name[name] = group
        return asdict(group_membership.assignment_of(name, group.state, member_id))

    def _heartbeat(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupHeartbeat, decoded(request))
        group = self.by_name.get(name)
        if group is None:
            raise UnknownMember(f"there is no group {name!r}: join it without a member_id")
        group.state.member(call.member_id)
        group.beaten_ms[call.member_id] = self._state.now_ms()
        group.state = group_membership.heartbeat(
            group.state,
            call.member_id,
            generation=call.generation,
            owned=group_membership.flattened(call.owned),
        )
        return asdict(group_membership.assignment_of(name, group.state, call.member_id))

    def _leave(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupLeave, decoded(request))
        group = self.by_name.get(name)
        if group is not None:
            group.state = group_membership.leave(group.state, [call.member_id])
        return {}

    def _list(self, request: Request) -> dict[str, Any]:
        of_workers = {name for _, _, one in self._partitions() for name in one.works}
        asked = request.query or {}
        kind, topic = asked.get("kind"), asked.get("topic")
        names = [
            name
            for name in sorted(of_workers.union(self.by_name))
            if kind in (None, "workers" if name in of_workers else "consumers")
            and (not topic or topic in self._figures(name)["topics"])
        ]
        if not asked.get("detail"):
            return {"groups": names}
        states = {name: self.by_name.get(name, MemoryGroup()).state for name in names}
        rows = [
            {
                "group": name,
                "kind": "workers" if name in of_workers else "consumers",
                "generation": state.generation,
                "members": len(state.members),
                **self._figures(name),
            }
            for name, state in states.items()
        ]
        return {"groups": rows}

    def _figures(self, name: str) -> dict[str, Any]:
        """Return the topics of a group, and what its partitions have together."""
        now_ms = self._state.now_ms()
        known = [(topic, one) for topic, _, one in self._partitions() if one.knows_group(name)]
        places = [one.group_place(name, now_ms) for _, one in known]
        return {
            "topics": sorted({topic for topic, _ in known}),
            "age_ms": max((place["age_ms"] for place in places), default=None),
            **{
                figure: sum(place[figure] for place in places) if places else None
                for figure in ("lag", *COUNTED, "dead")
            },
        }

    def _describe(self, name: str, request: Request) -> dict[str, Any]:
        known = any(one.knows_group(name) for _, _, one in self._partitions())
        if name not in self.by_name and not known:
            raise GroupNotFound(f"there is no group {name!r}")
        group = self.by_name.get(name, MemoryGroup())
        state = group.state
        topics = state.wanted.union(
            topic for topic, _, one in self._partitions() if one.knows_group(name)
        )
        asked = request.query or {}
        after, limit = str(asked.get("after", "")), int(str(asked.get("limit", DEFAULT_PAGE)))
        left = sorted(one for one in state.members if one > after)
        shown = left[:limit]
        return {
            "group": name,
            "kind": "consumers" if name in self.by_name else "workers",
            "generation": state.generation,
            "member_count": len(state.members),
            "next": shown[-1] if len(left) > limit else None,
            "members": [
                {
                    "member_id": member_id,
                    "topics": sorted(member.topics),
                    "assignment": by_topic(member.assignment),
                    "last_heartbeat": group.beaten_ms[member_id],
                    "session_timeout_ms": member.session_timeout_ms,
                }
                for member_id, member in ((one, state.members[one]) for one in shown)
            ],
            "partitions": [
                {
                    "topic": topic,
                    "partition": index,
                    "member_id": state.holders.get(TopicPartition(topic, index)),
                    **partition.group_place(name, self._state.now_ms()),
                }
                for topic, index, partition in sorted(self._partitions(), key=lambda one: one[:2])
                if topic in topics and not after
            ],
        }

    def _delete(self, name: str, request: Request) -> dict[str, Any]:
        if self._describe(name, request)["members"]:
            raise InvalidRequest(f"group {name!r} has members", field="group")
        self.by_name.pop(name, None)
        for _, _, partition in self._partitions():
            partition.forget_group(name)
        return {}

    def _reset(self, name: str, request: Request) -> dict[str, Any]:
        reset = read_input(GroupOffsetsReset, decoded(request))
        parts = self._state.partitions_of(reset.topic)
        chosen = sorted(set(range(len(parts)) if reset.partitions is None else reset.partitions))
        if not set(chosen) <= set(range(len(parts))):
            raise PartitionNotFound(f"{reset.topic} has no partitions {chosen}")
        if name not in self.by_name and not any(one.knows_group(name) for one in parts):
            raise GroupNotFound(f"there is no group {name!r}", field="group")
        state = self.by_name.get(name, MemoryGroup()).state
        places = {index: parts[index].wanted(name, reset) for index in chosen}
        if not reset.dry_run:
            if state.members and not reset.force:
                raise GroupActive(f"group {name!r} has {len(state.members)} members")
            if any(one.works[name].is_busy for one in parts if name in one.works):
                raise GroupActive(f"workers of group {name!r} have messages out")
            generation = self._without_members(name, [parts[index] for index in chosen])
            for index, (_, after) in places.items():
                parts[index].group_offsets[name] = (generation, after)
                parts[index].works.pop(name, None)
        return {
            "group": name,
            "topic": reset.topic,
            "dry_run": reset.dry_run,
            "members": len(state.members),
            "partitions": [
                {"partition": index, "before": before, "after": after, "moved": not reset.dry_run}
                for index, (before, after) in places.items()
            ],
        }

    def _without_members(self, name: str, parts: list[MemoryPartition]) -> int:
        """Send a group's members away; return the generation of nobody."""
        floor = max(one.group_offsets.get(name, (0, 0))[0] for one in parts)
        if name not in self.by_name and not floor:
            return 0
        group = self.by_name.setdefault(name, MemoryGroup())
        empty = group_membership.leave(group.state, group.state.members)
        group.state = replace(empty, generation=max(empty.generation, floor) + 1)
        return group.state.generation

    def _partitions(self) -> list[tuple[str, int, MemoryPartition]]:
        topics = self._state.topics.items()
        return [(topic, index, one) for topic, of in topics for index, one in enumerate(of)]

    def _shapes(self) -> dict[str, TopicShape]:
        topics = self._state.topics.items()
        return {name: TopicShape(len(of), of[0].group_id) for name, of in topics if of}

    # At brokers

    def commit_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `POST /offsets/commit`: move the group's offset, fenced by its generation."""
        call = read_input(OffsetsCommit, decoded(request))
        check_group_name(call.group)
        client_id = self._state.authorize_reader(request, call.topic)
        partition = self._state.partition_at(address, call.topic, call.partition)
        offset = partition.commit(call, client_id)
        return {
            "topic": call.topic,
            "partition": call.partition,
            "group": call.group,
            "generation": call.generation,
            "offset": offset,
            "missed": 0,
        }

    def tell_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Answer `GET /offsets`: committed offset, lag and generation of a group."""
        call = read_input(Offsets, None, request.query)  # type: ignore[arg-type]
        self._state.authorize_reader(request, call.topic)
        partition = self._state.partition_at(address, call.topic, call.partition)
        if not partition.knows_group(call.group):
            raise GroupNotFound(f"group {call.group!r} never read {call.topic}/{call.partition}")
        generation, _ = partition.group_offsets.get(call.group, (0, 0))
        place = partition.group_place(call.group, self._state.now_ms())
        if not call.age:
            del place["age_ms"]
        return {
            "topic": call.topic,
            "partition": call.partition,
            "group": call.group,
            "generation": generation,
            "log_start_offset": 0,
            **place,
        }
