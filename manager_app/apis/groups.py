"""Consumer groups: joining, heartbeats, leaving; what groups there are and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from http_base.access import ADMINISTER, CONSUMING, CONSUMING_ANYTHING, MOVE_OFFSETS, VIEW
from http_base.apidoc import describe
from manager_app.answers import (
    GroupDetail,
    GroupForgotten,
    GroupLeft,
    GroupList,
    GroupPlace,
    MemberFacts,
    TopicPartitionName,
)
from manager_app.apis.acts import operates
from manager_app.apis.base import ManagerView
from manager_app.groups.descriptions import (
    TOLD_LIMIT_S,
    describe_group,
    forget_group,
    list_groups,
    move_group,
)
from manager_app.groups.offset_moves import Asker
from manager_app.groups.standings import Overview
from manager_app.inputs import GroupsQuery, MembersQuery, Nothing
from manager_app.proxy.primary import speaker_of
from myqueue.contract.answers import (
    GroupOffsetsMoved,
    MemberAssignment,
    OffsetMove,
)
from myqueue.contract.errors import TopicDoesNotExist
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
    from manager_app.runtime import ManagerRuntime

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
    kind="consumers",
    generation=2,
    member_count=1,
    next=None,
    members=[
        MemberFacts(
            member_id=_MEMBER_ID,
            topics=["logs"],
            assignment={"logs": [0, 1]},
            last_heartbeat=1_700_000_000_000,
            session_timeout_ms=30_000,
            address="127.0.0.1",
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
            visible=0,
            in_flight=0,
            delayed=0,
            age_ms=1_500,
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
        assignment = await runtime.groups.join(
            group, subscription, member_id=call.member_id, address=speaker_of(request)
        )
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
            group,
            call.member_id,
            generation=call.generation,
            owned=owned,
            address=speaker_of(request),
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
        answer=GroupList(groups=["billing"], silent_brokers=[], next=None),
        tags=["groups"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """Return the names, or with `detail=1` objects.

        Groups of queue workers, and how far all are, is asked of the brokers, which alone know.
        """
        asked = self.read(request, GroupsQuery)
        told = Overview()
        if asked.detail or asked.kind != "consumers":
            asking = self.runtime.standings.ask()
            told = self.runtime.run(asking, timeout_s=TOLD_LIMIT_S)
        page = list_groups(asked, told)
        groups = [one if asked.detail else one.group for one in page.rows]
        answer = GroupList(groups=groups, silent_brokers=sorted(told.silent), next=page.next)
        return self.respond(answer)


class GroupApi(ManagerView):
    """One consumer group."""

    acts: ClassVar = {"DELETE": operates("group forgotten")}

    @describe(
        summary="Describe a consumer group and its lag",
        access=VIEW,
        input=MembersQuery,
        answer=_DETAIL,
        tags=["groups"],
        query=True,
    )
    def get(self, request: ApiRequest, group: str) -> Response:
        """Return members, committed offsets and lag; offsets are null where no leader answered.

        A group of queue workers has no members.
        """
        asked = self.read(request, MembersQuery)
        check_group_name(group)
        return self.respond(describe_group(self.runtime, group, asked))

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
        pending = forget_group(runtime, group)
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
        while messages are out. With `dry_run` nothing moves. Each change is an event.
        """
        runtime = self.runtime
        runtime.require_database()
        asked = self.read(request, GroupOffsetsReset)
        check_group_name(group)
        by = Asker(
            address=str(request.META.get("REMOTE_ADDR", "")),
            name="" if request.caller is None else request.caller.holder.name,
        )
        return self.respond(move_group(runtime, group, asked, by=by))


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
