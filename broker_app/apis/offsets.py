"""POST /offsets/commit, GET /offsets, and the internal GET /groups and POST /groups/forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.access import CONSUMER, require_topic_client
from broker_app.apis.answers import GroupForgottenHere, WorkGroups
from broker_app.inputs import GroupForgetHere
from broker_app.runtime import current
from broker_app.selectors.offsets import group_offsets_get, work_groups_list
from broker_app.services.groups import group_forget, offsets_commit
from http_base.answers import GroupCommitted, GroupOffset
from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.views import AsyncAPIView, require_cluster
from myqueue.contract.group_inputs import Offsets, OffsetsCommit, check_group_name

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

_GROUP = {"topic": "logs", "partition": 0, "group": "billing"}


class OffsetsCommitApi(AsyncAPIView):
    """Commits what a consumer group has read of a partition led here, fenced by the generation.

    A generation below the known one is ILLEGAL_GENERATION with the known one. Without `offset` the
    call only makes the generation known and answers where to start; `start` is where a group begins
    that is new here. An offset that retention has passed is moved up; `missed` says how far, once.
    """

    @describe(
        summary="Commit the offset of a consumer group",
        input=OffsetsCommit,
        returns=GroupCommitted,
        token=CLIENT_TOKEN,
        answer={**_GROUP, "generation": 3, "offset": 42, "missed": 0},
        tags=["groups"],
    )
    async def post(self, request: Request) -> Response:
        """Commit it."""
        commit = self.read(request, OffsetsCommit)
        runtime = current()
        client_id = require_topic_client(
            request, runtime, topic=commit.topic, token=commit.token, kind=CONSUMER
        )
        replica = runtime.partition(commit.topic, commit.partition)
        place = await offsets_commit(
            runtime=runtime, replica=replica, commit=commit, client_id=client_id
        )
        return self.respond(
            {
                "topic": replica.spec.topic,
                "partition": replica.spec.partition,
                "group": commit.group,
                "generation": place.generation,
                "offset": place.offset,
                "missed": place.missed,
            }
        )


class OffsetsApi(AsyncAPIView):
    """Where a consumer group is in a partition led here, confirmed by a quorum."""

    @describe(
        summary="Offset and lag of a consumer group",
        input=Offsets,
        returns=GroupOffset,
        token=CLIENT_TOKEN,
        answer={
            **_GROUP,
            "generation": 3,
            "offset": 42,
            "high_watermark": 50,
            "log_start_offset": 0,
            "lag": 8,
            "unsettled": 0,
            "dead": 0,
        },
        tags=["groups"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Look it up."""
        asked = self.read(request, Offsets)
        runtime = current()
        name = check_group_name(asked.group)
        require_topic_client(request, runtime, topic=asked.topic, token=asked.token)
        replica = runtime.partition(asked.topic, asked.partition)
        offsets = await group_offsets_get(
            runtime=runtime, replica=replica, name=name, timeout_ms=asked.timeout_ms
        )
        return self.respond(
            {
                "topic": replica.spec.topic,
                "partition": replica.spec.partition,
                "group": name,
                "generation": offsets.generation,
                "offset": offsets.offset,
                "high_watermark": offsets.high_watermark,
                "log_start_offset": offsets.log_start_offset,
                "lag": offsets.lag,
                "unsettled": offsets.unsettled,
                "dead": offsets.dead,
            }
        )


class WorkGroupsApi(AsyncAPIView):
    """The groups of queue workers here: no manager has rows of them."""

    @describe(
        summary="Groups of queue workers in the partitions led here (internal)",
        returns=WorkGroups,
        answer={"groups": {"mailers": ["mails"]}},
        tags=["internal"],
    )
    async def get(self, request: Request) -> Response:
        """Name them, each with its topics."""
        require_cluster(request)
        return self.respond({"groups": work_groups_list(runtime=current())})


class GroupForgetApi(AsyncAPIView):
    """Drops what a partition remembers of a consumer group. Internal."""

    @describe(
        summary="Forget a consumer group (internal)",
        input=GroupForgetHere,
        returns=GroupForgottenHere,
        answer={**_GROUP, "forgotten": True},
        tags=["internal"],
    )
    async def post(self, request: Request) -> Response:
        """Forget it; one that is not known is no error."""
        require_cluster(request)
        call = self.read(request, GroupForgetHere)
        runtime = current()
        replica = runtime.partition(call.topic, call.partition)
        forgotten = await group_forget(
            runtime=runtime, replica=replica, name=call.group, timeout_ms=call.timeout_ms
        )
        return self.respond(
            {
                "topic": replica.spec.topic,
                "partition": replica.spec.partition,
                "group": call.group,
                "forgotten": forgotten,
            }
        )
