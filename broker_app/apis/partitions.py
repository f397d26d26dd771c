"""/partitions: local replicas; anyone may list them, managers order changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.answers import (
    ChangeBegun,
    ChangeProgress,
    LeadershipMoved,
    LocalReplica,
    LocalReplicas,
    ReplicaDropped,
    ReplicaMade,
)
from broker_app.inputs import PartitionQuery
from broker_app.runtime import current
from broker_app.selectors.partitions import change_described, partition_get, partitions_list
from broker_app.services.loss import loss_accept, replica_examine
from broker_app.services.partitions import leader_transfer, partition_create, partition_delete
from broker_app.services.replicas import members_get, replica_discard, replicas_change
from broker_app.services.retention import messages_purge
from http_base.access import CLUSTER, VIEW_TOPIC
from http_base.apidoc import describe
from http_base.calls import read_call
from http_base.cluster import (
    DeletedPartition,
    LeaderTransfer,
    LossOrder,
    MembersAnswer,
    MessagesPurge,
    MessagesPurged,
    PartitionDelete,
    ReplicaOrder,
    ReplicaPlace,
    ReplicaTarget,
    StoredReplica,
)
from http_base.views import ApiView, served_by
from myqueue.contract.errors import InvalidRequest

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.calls import Call
    from http_base.views import ApiRequest


_PLACE = ReplicaPlace(replica_id=70, broker_id=1)
_REPLICA = LocalReplica(
    group_id=7,
    replica_id=70,
    topic="logs",
    partition=0,
    role="leader",
    term=3,
    leader_broker_id=1,
    serves=True,
    log_start_offset=0,
    high_watermark=42,
    commit_index=43,
    applied_index=43,
    last_index=43,
    placement_version=1,
    replicas=[_PLACE],
    size_bytes=4_096,
    cursors=1,
    consumer_groups=0,
    producers=1,
    request_ids=0,
    retention_ms=0,
    retention_bytes=0,
    followers=[],
    change=None,
)
_CHANGE = ChangeProgress(
    target=[_PLACE], version=3, step="Promote(replica_id=70)", waiting_for="", done=False
)


@describe(
    summary="Replicas on this broker",
    access=VIEW_TOPIC,
    input=PartitionQuery,
    answer=LocalReplicas(partitions=[_REPLICA], next=None),
    tags=["cluster"],
    query=True,
)
async def list_replicas(call: Call) -> LocalReplicas:
    """List the replicas, in the order of topics and partitions."""
    page = partitions_list(runtime=current(), asked=read_call(call, PartitionQuery))
    return LocalReplicas(partitions=page.rows, next=page.next)


class PartitionsApi(ApiView):
    """The replicas on this broker: role, term, leader, offsets, sizes, lag of followers."""

    get = served_by(list_replicas)

    @describe(
        summary="Make a replica (internal)",
        access=CLUSTER,
        input=ReplicaOrder,
        answer=ReplicaMade(partition=_REPLICA),
        tags=["internal"],
        status=201,
    )
    async def post(self, request: ApiRequest) -> Response:
        """Create the replica; an existing one is left as it is."""
        order = self.read(request, ReplicaOrder)
        replica = await partition_create(runtime=current(), order=order)
        partition = partition_get(runtime=current(), replica=replica)
        return self.respond(ReplicaMade(partition=partition), status=201)


class PartitionApi(ApiView):
    """One replica on this broker."""

    @describe(
        summary="Drop a replica with all it stored (internal)",
        access=CLUSTER,
        input=PartitionDelete,
        answer=ReplicaDropped(group_id=7, deleted=True),
        tags=["internal"],
        query=True,
    )
    async def delete(self, request: ApiRequest, group_id: int) -> Response:
        """Drop the replica; an unknown one is no error, one of another partition is refused."""
        order = self.read(request, PartitionDelete)
        runtime = current()
        if order.epoch:
            await runtime.obey_epoch(order.epoch)
        if order.replica_id:
            deleted = await replica_discard(
                runtime=runtime, group_id=group_id, replica_id=order.replica_id, ask=()
            )
        else:
            deleted = await partition_delete(runtime=runtime, deleted=_deleted(group_id, order))
        return self.respond(ReplicaDropped(group_id=group_id, deleted=deleted))


def _deleted(group_id: int, order: PartitionDelete) -> DeletedPartition:
    if order.topic is None or order.partition is None:
        field = "topic" if order.topic is None else "partition"
        raise InvalidRequest(f"{field} is needed without replica_id", field=field)
    return DeletedPartition(group_id=group_id, topic=order.topic, partition=order.partition)


class PurgeApi(ApiView):
    """Deletes messages from the front of a partition led here. Internal."""

    @describe(
        summary="Delete the messages below an offset (internal)",
        access=CLUSTER,
        input=MessagesPurge,
        answer=MessagesPurged(topic="logs", partition=0, log_start_offset=42),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Delete them on every replica; a batch that the offset lies inside of stays."""
        call = self.read(request, MessagesPurge)
        runtime = current()
        replica = runtime.partition(call.topic, call.partition)
        purged = await messages_purge(
            runtime=runtime, replica=replica, below=call.below, timeout_ms=call.timeout_ms
        )
        spec = replica.spec
        return self.respond(
            MessagesPurged(
                topic=spec.topic,
                partition=spec.partition,
                log_start_offset=purged.log_start_offset,
            )
        )


class ReplicasApi(ApiView):
    """The replicas of one partition led here."""

    @describe(
        summary="Members of a partition, confirmed by a quorum (internal)",
        access=CLUSTER,
        answer=MembersAnswer(group_id=7, version=3, replicas=[_PLACE]),
        tags=["internal"],
    )
    async def get(self, request: ApiRequest, group_id: int) -> Response:
        """Return voters and learners, confirmed by a quorum."""
        return self.respond(await members_get(runtime=current(), group_id=group_id))

    @describe(
        summary="Lead a partition to other replicas, step by step (internal)",
        access=CLUSTER,
        input=ReplicaTarget,
        answer=ChangeBegun(group_id=7, change=_CHANGE),
        tags=["internal"],
        status=202,
    )
    async def post(self, request: ApiRequest, group_id: int) -> Response:
        """Begin or continue to change the replicas; answer at once with the progress."""
        target = self.read(request, ReplicaTarget)
        change = await replicas_change(runtime=current(), group_id=group_id, target=target)
        begun = ChangeBegun(group_id=group_id, change=change_described(change))
        return self.respond(begun, status=202)


class StoredApi(ApiView):
    """What is left of one replica."""

    @describe(
        summary="What is stored of a replica, also of a faulty one (internal)",
        access=CLUSTER,
        answer=StoredReplica(
            replica_id=70,
            faulty="its log ends at 40",
            hears_leader=False,
            unusable="",
            term=3,
            last_term=3,
            last_index=40,
            end_offset=39,
        ),
        tags=["internal"],
    )
    async def get(self, request: ApiRequest, group_id: int) -> Response:
        """Return where its log and its messages end."""
        return self.respond(await replica_examine(runtime=current(), group_id=group_id))

    @describe(
        summary="Let a replica go on alone with what it has (internal)",
        access=CLUSTER,
        input=LossOrder,
        answer=ReplicaMade(partition=_REPLICA),
        tags=["internal"],
        status=201,
    )
    async def post(self, request: ApiRequest, group_id: int) -> Response:
        """Give the replica a new id and a group of its own; again changes nothing."""
        order = self.read(request, LossOrder)
        replica = await loss_accept(runtime=current(), group_id=group_id, order=order)
        made = ReplicaMade(partition=partition_get(runtime=current(), replica=replica))
        return self.respond(made, status=201)


class LeaderApi(ApiView):
    """The leadership of one partition."""

    @describe(
        summary="Hand leadership to another broker (internal)",
        access=CLUSTER,
        input=LeaderTransfer,
        answer=LeadershipMoved(group_id=7, broker_id=2),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest, group_id: int) -> Response:
        """Hand the leadership over; answer when the other replica leads."""
        order = self.read(request, LeaderTransfer)
        if order.epoch:
            await current().obey_epoch(order.epoch)
        await leader_transfer(
            runtime=current(),
            group_id=group_id,
            broker_id=order.broker_id,
            timeout_ms=order.timeout_ms,
        )
        return self.respond(LeadershipMoved(group_id=group_id, broker_id=order.broker_id))
