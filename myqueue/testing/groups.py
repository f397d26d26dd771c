"""Consumer groups of a queue in memory: members and assignments at its manager, offsets beside."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from myqueue.contract import inputs as protocol
from myqueue.contract.errors import (
    GroupNotFound,
    IllegalGeneration,
    InvalidRequest,
    MethodNotAllowed,
    UnauthorizedException,
    UnknownMember,
)
from myqueue.contract.group_inputs import (
    HEARTBEATS_PER_SESSION,
    MAX_SESSION_TIMEOUT_MS,
    MIN_SESSION_TIMEOUT_MS,
    GroupHeartbeat,
    GroupJoin,
    GroupLeave,
    Offsets,
    OffsetsCommit,
    check_group_name,
)
from myqueue.contract.inputs import check_range, read_input
from myqueue.testing.manager import MemoryManager
from myqueue.testing.state import decoded
from myqueue.transport.group_calls import by_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from myqueue.transport.http1 import Request
    from myqueue.transport.rotation import TopicPartition


@dataclass
class MemoryMember:
    """One member as the manager knows it."""

    topics: list[str]
    session_timeout_ms: int
    beaten_ms: int
    number: int
    """In the order of joining."""
    granted: set[TopicPartition] = field(default_factory=set)
    """What it was told it may own and has not given up."""


class MemoryGroup:
    """The members of a group, and who gets what. Pure."""

    def __init__(self) -> None:
        self.generation = 0
        self.members: dict[str, MemoryMember] = {}
        self.target: dict[TopicPartition, str] = {}
        self._numbers = itertools.count()
        self._seen: object = None

    def join(
        self, member_id: str | None, topics: list[str], session_timeout_ms: int, now_ms: int
    ) -> str:
        """Take a member in, or its new subscription; return its id.

        Raises:
            UnknownMember: the group has no member of this id.
        """
        if member_id is None:
            member_id = uuid.uuid4().hex
            number = next(self._numbers)
            self.members[member_id] = MemoryMember(topics, session_timeout_ms, now_ms, number)
        else:
            member = self.member(member_id)
            member.topics, member.session_timeout_ms = topics, session_timeout_ms
            member.beaten_ms = now_ms
        return member_id

    def member(self, member_id: str) -> MemoryMember:
        """Return a member.

        Raises:
            UnknownMember: the group has none of this id.
        """
        found = self.members.get(member_id)
        if found is None:
            raise UnknownMember(f"the group has no member {member_id!r}; join again")
        return found

    def expire(self, now_ms: int) -> None:
        """Drop the members whose heartbeats stopped for longer than their session."""
        for member_id, member in list(self.members.items()):
            if now_ms - member.beaten_ms > member.session_timeout_ms:
                del self.members[member_id]

    def rebalance(self, counts: dict[str, int]) -> None:
        """Decide anew who gets what, if members, subscriptions or partitions have changed.

        Args:
            counts: number of partitions by topic.
        """
        wanted = {topic for member in self.members.values() for topic in member.topics}
        partitions = [
            (topic, index) for topic in sorted(wanted) for index in range(counts.get(topic, 0))
        ]
        seen = ({name: sorted(one.topics) for name, one in self.members.items()}, partitions)
        if seen == self._seen:
            return
        self._seen = seen
        self.generation += 1
        owners = {where: name for name, one in self.members.items() for where in one.granted}
        self.target = assign(
            {name: set(one.topics) for name, one in self._in_order()}, partitions, owners
        )

    def _in_order(self) -> list[tuple[str, MemoryMember]]:
        return sorted(self.members.items(), key=lambda item: item[1].number)

    def assignment(self, member_id: str) -> set[TopicPartition]:
        """Grant what nobody else has, and return what the member may read now."""
        member = self.members[member_id]
        taken = {
            where
            for name, one in self.members.items()
            if name != member_id
            for where in one.granted
        }
        mine = {where for where, name in self.target.items() if name == member_id}
        member.granted |= mine - taken
        return member.granted & mine


def assign(
    topics_of: dict[str, set[str]],
    partitions: list[TopicPartition],
    owners: dict[TopicPartition, str],
) -> dict[TopicPartition, str]:
    """Spread partitions evenly over members; who has one keeps it as far as that allows.

    Args:
        topics_of: member -> its topics, in the order of joining.
        partitions: all of the members' topics.
        owners: who has what now.
    """
    target = {
        where: owner
        for where, owner in owners.items()
        if where in partitions and where[0] in topics_of.get(owner, ())
    }
    count = dict.fromkeys(topics_of, 0)
    for owner in target.values():
        count[owner] += 1

    def give(where: TopicPartition, member: str) -> None:
        before = target.get(where)
        if before is not None:
            count[before] -= 1
        target[where] = member
        count[member] += 1

    def least(topic: str) -> str:
        return min((name for name in topics_of if topic in topics_of[name]), key=count.__getitem__)

    for where in partitions:
        if where not in target:
            give(where, least(where[0]))
    moved = True
    while moved:
        moved = False
        for where in partitions:
            member = least(where[0])
            if count[target[where]] - count[member] > 1:
                give(where, member)
                moved = True
    return target


class MemoryGroupApi(MemoryManager):
    """The calls of groups, at the manager and at the brokers."""

    def __init__(self, manager: str, brokers: list[str]) -> None:
        super().__init__(manager, brokers)
        self.groups: dict[str, MemoryGroup] = {}

    def at_manager(self, request: Request) -> Any:
        """Answer what only a manager answers."""
        parts = request.path.split("/")
        if parts[1] != "groups":
            return super().at_manager(request)
        if len(parts) == 2:
            return self._list(request)
        name = check_group_name(unquote(parts[2]))
        calls: dict[tuple[str, tuple[str, ...]], Callable[[str, Request], Any]] = {
            ("POST", ("join",)): self._join,
            ("POST", ("heartbeat",)): self._heartbeat,
            ("POST", ("leave",)): self._leave,
            ("GET", ()): self._describe,
            ("DELETE", ()): self._delete,
        }
        call = calls.get((request.method, tuple(parts[3:])))
        if call is None:
            raise MethodNotAllowed(f"{request.path} does not take {request.method}")
        for group in self.groups.values():
            group.expire(self.now_ms())
        return call(name, request)

    def _join(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupJoin, decoded(request))
        check_range(
            "session_timeout_ms",
            call.session_timeout_ms,
            MIN_SESSION_TIMEOUT_MS,
            MAX_SESSION_TIMEOUT_MS,
        )
        for topic in call.topics:
            self.partitions_of(topic)
        group = self.groups.get(name) or MemoryGroup()
        member_id = group.join(call.member_id, call.topics, call.session_timeout_ms, self.now_ms())
        self.groups[name] = group
        return self._told(name, member_id)

    def _heartbeat(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupHeartbeat, decoded(request))
        member = self._group(name).member(call.member_id)
        owned = {(topic, index) for topic, indexes in call.owned.items() for index in indexes}
        member.beaten_ms = self.now_ms()
        if not owned <= member.granted:
            raise IllegalGeneration(
                f"{sorted(owned - member.granted)} was not granted to this member",
                generation=self.groups[name].generation,
            )
        mine = {where for where, who in self.groups[name].target.items() if who == call.member_id}
        member.granted &= owned | mine
        return self._told(name, call.member_id)

    def _leave(self, name: str, request: Request) -> dict[str, Any]:
        call = read_input(GroupLeave, decoded(request))
        if name in self.groups:
            self.groups[name].members.pop(call.member_id, None)
        return {}

    def _group(self, name: str) -> MemoryGroup:
        if name not in self.groups:
            raise UnknownMember(f"there is no group {name!r}; join again")
        return self.groups[name]

    def _told(self, name: str, member_id: str) -> dict[str, Any]:
        group = self.groups[name]
        group.rebalance({topic: len(of) for topic, of in self.topics.items()})
        timeout_ms = group.members[member_id].session_timeout_ms
        return {
            "group": name,
            "member_id": member_id,
            "generation": group.generation,
            "assignment": by_topic(group.assignment(member_id)),
            "heartbeat_interval_ms": timeout_ms // HEARTBEATS_PER_SESSION,
            "session_timeout_ms": timeout_ms,
        }

    def _list(self, request: Request) -> dict[str, Any]:
        names = sorted(self.groups)
        if (request.query or {}).get("detail"):
            return {
                "groups": [
                    {
                        "group": name,
                        "generation": self.groups[name].generation,
                        "members": len(self.groups[name].members),
                    }
                    for name in names
                ]
            }
        return {"groups": names}

    def _describe(self, name: str, request: Request) -> dict[str, Any]:
        group = self.groups.get(name)
        if group is None:
            raise GroupNotFound(f"there is no group {name!r}")
        owners = {where: who for who, one in group.members.items() for where in one.granted}
        topics = {topic for member in group.members.values() for topic in member.topics}
        topics |= {
            topic
            for topic, partitions in self.topics.items()
            if any(name in partition.group_offsets for partition in partitions)
        }
        return {
            "group": name,
            "generation": group.generation,
            "members": [
                {
                    "member_id": member_id,
                    "topics": member.topics,
                    "assignment": by_topic(member.granted),
                    "last_heartbeat": member.beaten_ms,
                    "session_timeout_ms": member.session_timeout_ms,
                }
                for member_id, member in group.members.items()
            ],
            "partitions": [
                self._row(name, (topic, index), owners.get((topic, index)))
                for topic in sorted(topics)
                for index in range(len(self.topics.get(topic, ())))
            ],
        }

    def _row(self, name: str, where: TopicPartition, member_id: str | None) -> dict[str, Any]:
        partition = self.topics[where[0]][where[1]]
        known = partition.group_offsets.get(name)
        end = len(partition.records)
        return {
            "topic": where[0],
            "partition": where[1],
            "member_id": member_id,
            "offset": None if known is None else known[1],
            "high_watermark": end,
            "lag": None if known is None else end - known[1],
            "unsettled": 0,
            "dead": 0,
        }

    def _delete(self, name: str, request: Request) -> dict[str, Any]:
        if self.groups.get(name, MemoryGroup()).members:
            raise InvalidRequest(f"group {name!r} has members", field="group")
        self.groups.pop(name, None)
        for partitions in self.topics.values():
            for partition in partitions:
                partition.group_offsets.pop(name, None)
        return {}

    # At brokers

    def commit_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Move a group's offset, or fence older generations and tell it."""
        call = read_input(OffsetsCommit, decoded(request))
        check_group_name(call.group)
        self._authorize_reader(request, call.topic)
        partition = self.partition_at(address, call.topic, call.partition)
        generation, offset = partition.group_offsets.get(call.group, (0, None))
        if call.generation < generation:
            raise IllegalGeneration(
                f"generation {call.generation} of group {call.group!r} is over",
                generation=generation,
            )
        if call.offset is not None:
            partition.check_offset(call.offset)
            offset = call.offset
        elif offset is None:
            offset = len(partition.records) if call.start == "latest" else 0
        partition.group_offsets[call.group] = (call.generation, offset)
        return {
            "topic": call.topic,
            "partition": call.partition,
            "group": call.group,
            "generation": call.generation,
            "offset": offset,
            "missed": 0,
        }

    def tell_offset(self, address: str, request: Request) -> dict[str, Any]:
        """Tell where a group is."""
        call = read_input(Offsets, None, request.query)  # type: ignore[arg-type]
        self._authorize_reader(request, call.topic)
        partition = self.partition_at(address, call.topic, call.partition)
        if call.group not in partition.group_offsets:
            raise GroupNotFound(f"group {call.group!r} never read {call.topic}/{call.partition}")
        generation, _ = partition.group_offsets[call.group]
        row = self._row(call.group, (call.topic, call.partition), None)
        del row["member_id"]
        return {**row, "group": call.group, "generation": generation, "log_start_offset": 0}

    def find_time(self, address: str, request: Request) -> dict[str, Any]:
        """Tell the first offset that was appended at or after a time."""
        call = read_input(protocol.OffsetByTime, None, request.query)  # type: ignore[arg-type]
        self._authorize_reader(request, call.topic)
        partition = self.partition_at(address, call.topic, call.partition)
        return {
            "topic": call.topic,
            "partition": call.partition,
            "offset": partition.offset_by_time(call.timestamp),
        }

    def _authorize_reader(self, request: Request, topic: str) -> None:
        """Check that the token is that of a consumer of a topic."""
        known = {
            f"token-{id}" for id, client in self.clients.items() if client == ("consumer", topic)
        }
        if request.token not in known:
            raise UnauthorizedException(f"no consumer of {topic!r} has this token")
