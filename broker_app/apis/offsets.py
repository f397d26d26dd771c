"""POST /offsets/commit, GET /offsets, and the internal GET /groups and POST /groups/forget."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET

from broker_app.access import CONSUMER, admit_entry, require_topic_client
from broker_app.answers import GroupForgottenHere
from broker_app.client_origins import Table
from broker_app.runtime import current
from broker_app.selectors.offsets import group_offsets_get
from broker_app.selectors.standings import age_of, standings_list
from broker_app.services.groups import group_forget, offsets_commit
from http_base.access import CLUSTER
from http_base.apidoc import describe
from http_base.calls import read_call
from http_base.cluster import GroupForgetHere, GroupStanding, GroupStandings
from http_base.operations import OFFSETS, OFFSETS_COMMIT
from http_base.views import ApiView, served_by
from myqueue.contract.answers import GroupCommitted, GroupOffset
from myqueue.contract.group_inputs import Offsets, OffsetsCommit, check_group_name

if TYPE_CHECKING:
    from rest_framework.response import Response

    from broker_app.selectors.offsets import GroupOffsets
    from http_base.calls import Call
    from http_base.views import ApiRequest
    from raft_app.engine.replica import Replica


@OFFSETS_COMMIT
async def commit_offsets(call: Call) -> GroupCommitted:
    """Commit the offset for the group, fenced by the generation of its member."""
    commit = read_call(call, OffsetsCommit)
    runtime = current()
    client_id = require_topic_client(
        call, runtime, topic=commit.topic, token=commit.token, kind=CONSUMER
    )
    replica = runtime.partition(commit.topic, commit.partition)
    admit_entry(call, runtime, Table.GROUPS, replica, name=commit.group)
    place = await offsets_commit(
        runtime=runtime, replica=replica, commit=commit, client_id=client_id
    )
    return GroupCommitted(
        topic=replica.spec.topic,
        partition=replica.spec.partition,
        group=commit.group,
        generation=place.generation,
        offset=place.offset,
        missed=place.missed,
    )


@OFFSETS
async def find_offsets(call: Call) -> GroupOffset:
    """Return committed offset, lag and generation of the group, confirmed by a quorum."""
    asked = read_call(call, Offsets)
    runtime = current()
    name = check_group_name(asked.group)
    require_topic_client(call, runtime, topic=asked.topic, token=asked.token)
    replica = runtime.partition(asked.topic, asked.partition)
    offsets = await group_offsets_get(
        runtime=runtime, replica=replica, name=name, timeout_ms=asked.timeout_ms
    )
    return GroupOffset(
        topic=replica.spec.topic,
        partition=replica.spec.partition,
        group=name,
        generation=offsets.generation,
        offset=offsets.offset,
        high_watermark=offsets.high_watermark,
        log_start_offset=offsets.log_start_offset,
        lag=offsets.lag,
        unsettled=offsets.unsettled,
        dead=offsets.dead,
        visible=offsets.visible,
        in_flight=offsets.in_flight,
        delayed=offsets.delayed,
        age_ms=await _age(replica, offsets) if asked.age else UNSET,
    )


async def _age(replica: Replica, offsets: GroupOffsets) -> int | None:
    return await age_of(runtime=current(), replica=replica, offsets=offsets, now_ms=_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class OffsetsCommitApi(ApiView):
    """Commits what a consumer group has read of a partition led here."""

    description = OFFSETS_COMMIT.description
    post = served_by(commit_offsets)


class OffsetsApi(ApiView):
    """Where a consumer group is in a partition led here."""

    description = OFFSETS.description
    get = served_by(find_offsets)


class GroupStandingsApi(ApiView):
    """Where groups are on this broker; managers store none of it. Internal."""

    @describe(
        summary="Where groups are in the partitions led here (internal)",
        access=CLUSTER,
        answer=GroupStandings(
            standings=[
                GroupStanding(
                    group="mailers",
                    topic="mails",
                    is_workers=True,
                    partitions=2,
                    lag=42,
                    visible=40,
                    in_flight=2,
                    age_ms=1_500,
                )
            ]
        ),
        tags=["internal"],
    )
    async def get(self, request: ApiRequest) -> Response:
        """List the groups, once for each of their topics, in the order of names."""
        return self.respond(await standings_list(runtime=current(), now_ms=_now_ms()))


class GroupForgetApi(ApiView):
    """Drops a consumer group's offset from a partition. Internal."""

    @describe(
        summary="Forget a consumer group (internal)",
        access=CLUSTER,
        input=GroupForgetHere,
        answer=GroupForgottenHere(topic="logs", partition=0, group="billing", forgotten=True),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Drop the group; an unknown one is no error."""
        call = self.read(request, GroupForgetHere)
        runtime = current()
        replica = runtime.partition(call.topic, call.partition)
        forgotten = await group_forget(
            runtime=runtime, replica=replica, name=call.group, timeout_ms=call.timeout_ms
        )
        return self.respond(
            GroupForgottenHere(
                topic=replica.spec.topic,
                partition=replica.spec.partition,
                group=call.group,
                forgotten=forgotten,
            )
        )
