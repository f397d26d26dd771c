"""Consumer groups: joining, heartbeats, leaving; what groups there are and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.access import ADMINISTER, CONSUMING, CONSUMING_ANYTHING, MOVE_OFFSETS, VIEW
from http_base.apidoc import describe
from http_base.paging import page_of
from manager_app import selectors
from manager_app.answers import (
    GroupDetail,
    GroupForgotten,
    GroupLeft,
    GroupList,
    GroupPlace,
    MemberFacts,
    TopicPartitionName,
)
from manager_app.apis.base import ManagerView
from manager_app.apis.group_rendering import (
    group_detail,
    group_summary,
    workers_summary,
)
from manager_app.groups.offset_moves import Asker
from manager_app.inputs import GroupsQuery, Nothing
from myqueue.contract.answers import (
    GroupOffset,
    GroupOffsetsMoved,
    MemberAssignment,
    OffsetMove,
)
from myqueue.contract.errors import GroupNotFound, TopicDoesNotExist
from myqueue.contract.group_inputs import (
    GroupHeartbeat,
    GroupJoin,
    GroupLeave,
    GroupOffsetsReset,
    check_group_name,
)
from myqueue.contract.rules.assignors import TopicPartition
from myqueue.contract.rules.group_membership import Subscription

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.answers import GroupSummary
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import StoredConsumerGroup

REPORT_LIMIT_S = 10.0
"""For the brokers' answers; they have a shorter limit together."""
MOVE_MARGIN_S = 60.0
"""Beside the limit of the call: to ask where the group is, and for what waits for the group."""
FORGET_LIMIT_S = 120.0
"""To let all partitions forget a group; each has a shorter limit of its own."""

_MEMBER_ID = "5f0c9f0e7a0b4d3f8f6f6a3c1f2e4d5b"
_ASSIGNMENT = MemberAssignment(
    group="billing",
    member_id=_MEMBER_ID,
    generation=2,
    assignment={"logs": [0, 1]},
    heartbeat_interval_ms=3_000,
    session_timeout_ms=30_000,
)
_DETAIL = GroupDetail(
    group="billing",
    generation=2,
    members=[
        MemberFacts(
            member_id=_MEMBER_ID,
            topics=["logs"],
            assignment={"logs": [0, 1]},
            last_heartbeat=1_700_000_000_000,
            session_timeout_ms=30_000,
        )
    ],
    partitions=[
        GroupPlace(
            topic="logs",
            partition=0,
            member_id=_MEMBER_ID,
            offset=41,
            high_watermark=42,
            lag=1,
            unsettled=0,
            dead=0,
        )
    ],
)


class GroupJoinApi(ManagerView):
    """Joining."""

    @describe(
        summary="Join a consumer group; the first member makes it",
        access=CONSUMING,
        input=GroupJoin,
        answer=_ASSIGNMENT,
        tags=["groups"],
    )
    async def post(self, request: ApiRequest, group: str) -> Response:
        """Join the group; with `member_id` change a member's topics, which keeps its partitions.

        `assignment` has the partitions that the member may read now; the answers to its heartbeats
        tell of changes.
        """
        runtime = self.runtime
        runtime.require_database()
        call = self.read(request, GroupJoin)
        check_group_name(group)
        subscription = await _subscription(runtime, call)
        assignment = await runtime.groups.join(group, subscription, member_id=call.member_id)
        return self.respond(assignment)


class GroupHeartbeatApi(ManagerView):
    """Heartbeats of members."""

    @describe(
        summary="Record a member's heartbeat",
        access=CONSUMING_ANYTHING,
        input=GroupHeartbeat,
        answer=_ASSIGNMENT,
        tags=["groups"],
    )
    async def post(self, request: ApiRequest, group: str) -> Response:
        """Record the heartbeat and the partitions that the member owns; answer what it may read.

        A partition in `owned` that is not in `assignment` is to be given up by the next heartbeat.
        """
        runtime = self.runtime
        runtime.require_database()
        call = self.read(request, GroupHeartbeat)
        check_group_name(group)
        owned = {TopicPartition(name, index) for name, of in call.owned.items() for index in of}
        assignment = await runtime.groups.heartbeat(
            group, call.member_id, generation=call.generation, owned=owned
        )
        return self.respond(assignment)


class GroupLeaveApi(ManagerView):
    """Leaving."""

    @describe(
        summary="Leave a consumer group",
        access=CONSUMING_ANYTHING,
        input=GroupLeave,
        answer=GroupLeft(group="billing"),
        tags=["groups"],
    )
    async def post(self, request: ApiRequest, group: str) -> Response:
        """Remove the member; the others get its partitions. An unknown member is no error."""
        runtime = self.runtime
        runtime.require_database()
        call = self.read(request, GroupLeave)
        check_group_name(group)
        await runtime.groups.leave(group, call.member_id)
        return self.respond(GroupLeft(group=group))


class GroupsApi(ManagerView):
    """All consumer groups."""

    @describe(
        summary="List consumer groups by name",
        access=VIEW,
        input=GroupsQuery,
        answer=GroupList(groups=["billing"], next=None),
        tags=["groups"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return the names, or with `detail=1` objects.

        Groups of queue workers are asked of the brokers, which alone know them.
        """
        asked = self.read(request, GroupsQuery)
        found: dict[str, GroupSummary] = {}
        if asked.kind != "consumers":
            asking = self.runtime.orders.ask_work_groups()
            of_workers = self.runtime.run(asking, timeout_s=REPORT_LIMIT_S)
            found = {
                name: workers_summary(name, topics)
                for name, topics in of_workers.items()
                if name > asked.after and name.startswith(asked.prefix)
                if not asked.topic or asked.topic in topics
            }
        if asked.kind != "workers":
            found |= {row.name: group_summary(row) for row in selectors.groups_with_counts(asked)}
        page = page_of(sorted(found), asked.limit, str)
        groups = [found[name] if asked.detail else name for name in page.rows]
        return self.respond(GroupList(groups=groups, next=page.next))


class GroupApi(ManagerView):
    """One consumer group."""

    @describe(
        summary="Describe a consumer group and its lag",
        access=VIEW,
        answer=_DETAIL,
        tags=["groups"],
    )
    def get(self, request: ApiRequest, group: str) -> Response:
        """Return members, committed offsets and lag; offsets are null where no leader answered.

        A group of queue workers has no members; every partition is asked for it.
        """
        self.read(request, Nothing)
        check_group_name(group)
        return self.respond(describe_group(self.runtime, group))

    @describe(
        summary="Forget a consumer group without members",
        access=ADMINISTER,
        answer=GroupForgotten(
            message="Group 'billing' forgotten", group="billing", partitions_pending=[]
        ),
        tags=["groups"],
    )
    def delete(self, request: ApiRequest, group: str) -> Response:
        """Delete the group and its offsets; partitions that were not reached are named."""
        runtime = self.runtime
        runtime.require_database()
        self.read(request, Nothing)
        check_group_name(group)
        try:
            runtime.run(runtime.groups.delete(group), timeout_s=REPORT_LIMIT_S)
        except GroupNotFound:
            describe_group(runtime, group)
        pending = runtime.run(runtime.group_offsets.forget(group), timeout_s=FORGET_LIMIT_S)
        return self.respond(
            GroupForgotten(
                message=f"Group {group!r} forgotten",
                group=group,
                partitions_pending=[
                    TopicPartitionName(topic=topic, partition=partition)
                    for topic, partition in pending
                ],
            )
        )


class GroupOffsetsApi(ManagerView):
    """Where a consumer group goes on."""

    @describe(
        summary="Move the offsets of a consumer group",
        access=MOVE_OFFSETS,
        input=GroupOffsetsReset,
        answer=GroupOffsetsMoved(
            group="billing",
            topic="logs",
            dry_run=False,
            members=0,
            partitions=[OffsetMove(partition=0, before=41, after=0, moved=True)],
        ),
        tags=["groups"],
        sample={"to": "earliest", "dry_run": True},
    )
    def put(self, request: ApiRequest, group: str) -> Response:
        """Move a group in a topic: to an end, a time, an offset, or by a number of messages.

        It is refused while the group has members, unless forced: then they are sent away, what they
        still commit is refused, and they go on at the new offsets. Groups of workers are refused
        while messages are out. With `dry_run` nothing moves. Each change is in the audit log.
        """
        runtime = self.runtime
        runtime.require_database()
        asked = self.read(request, GroupOffsetsReset)
        check_group_name(group)
        by = Asker(
            address=str(request.META.get("REMOTE_ADDR", "")),
            name="" if request.caller is None else request.caller.holder.name,
        )
        moving = _move_offsets(runtime, group, asked, by)
        limit_s = asked.timeout_ms / 1000 + MOVE_MARGIN_S
        return self.respond(runtime.run(moving, timeout_s=limit_s))


def describe_group(runtime: ManagerRuntime, name: str) -> GroupDetail:
    """Return a group: members from the database, offsets from the partitions' leaders.

    Raises:
        GroupNotFound: neither knows it.
    """
    stored: StoredConsumerGroup | None
    try:
        stored = selectors.group_stored(selectors.group_get(name))
    except GroupNotFound:
        stored = None
    topics = None if stored is None else stored.topics_used
    asking = runtime.group_offsets.ask(name, topics)
    offsets = runtime.run(asking, timeout_s=REPORT_LIMIT_S)
    if stored is None and not any(isinstance(one, GroupOffset) for one in offsets.values()):
        raise GroupNotFound(f"there is no consumer group {name!r}", field="group")
    return group_detail(name, stored, offsets, heard=runtime.groups.last_heartbeats(name))


async def _move_offsets(
    runtime: ManagerRuntime, group: str, asked: GroupOffsetsReset, by: Asker
) -> GroupOffsetsMoved:
    topic = await runtime.find_topic(asked.topic)
    return await runtime.group_offset_moves.move(group, topic, asked, by=by)


async def _subscription(runtime: ManagerRuntime, call: GroupJoin) -> Subscription:
    """Return what a member subscribes to.

    Raises:
        TopicDoesNotExist: one of the topics does not exist.
    """
    topics = frozenset(call.topics)
    for name in sorted(topics):
        try:
            await runtime.find_topic(name)
        except TopicDoesNotExist as error:
            raise TopicDoesNotExist(error.message, field="topics") from error
    return Subscription(topics, call.session_timeout_ms)
