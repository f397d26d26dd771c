"""/partitions: the local replicas, listed for everyone and ordered by managers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.inputs import LeaderTransfer, PartitionDelete, PartitionQuery
from broker_app.runtime import current
from broker_app.selectors.partitions import partition_get, partitions_list
from broker_app.services.partitions import leader_transfer, partition_create, partition_delete
from http_base.apidoc import describe
from http_base.cluster import ReplicaOrder
from http_base.views import AsyncAPIView, require_cluster
from myqueue.protocol import MAX_TIMEOUT_MS, check_range

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response


class PartitionsApi(AsyncAPIView):
    """The replicas on this broker: role, term, leader, offsets, sizes, lag of followers."""

    @describe(
        summary="Replicas on this broker",
        input=PartitionQuery,
        answer={"partitions": []},
        tags=["cluster"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """List them."""
        query = self.read(request, PartitionQuery)
        return self.respond({"partitions": partitions_list(runtime=current(), topic=query.topic)})

    @describe(
        summary="Make a replica (internal)",
        input=ReplicaOrder,
        answer={"partition": {}},
        tags=["internal"],
        status=201,
    )
    async def post(self, request: Request) -> Response:
        """Make one; one that is there already is left as it is."""
        require_cluster(request)
        order = self.read(request, ReplicaOrder)
        group = await partition_create(runtime=current(), order=order)
        return self.respond({"partition": partition_get(group=group)}, status=201)


class PartitionApi(AsyncAPIView):
    """One replica on this broker."""

    @describe(
        summary="Drop a replica with all it stored (internal)",
        input=PartitionDelete,
        answer={"group_id": 7, "deleted": True},
        tags=["internal"],
        query=True,
    )
    async def delete(self, request: Request, group_id: int) -> Response:
        """Drop it; one that is not here is no error."""
        require_cluster(request)
        order = self.read(request, PartitionDelete)
        runtime = current()
        if order.epoch:
            runtime.require_epoch(order.epoch)
        deleted = await partition_delete(runtime=runtime, group_id=group_id)
        return self.respond({"group_id": group_id, "deleted": deleted})


class LeaderApi(AsyncAPIView):
    """The leadership of one partition."""

    @describe(
        summary="Hand leadership to another broker (internal)",
        input=LeaderTransfer,
        answer={"group_id": 7, "broker_id": 2},
        tags=["internal"],
    )
    async def post(self, request: Request, group_id: int) -> Response:
        """Hand it over; answers when the other one leads."""
        require_cluster(request)
        order = self.read(request, LeaderTransfer)
        check_range("timeout_ms", order.timeout_ms, 1, MAX_TIMEOUT_MS)
        await leader_transfer(
            runtime=current(),
            group_id=group_id,
            broker_id=order.broker_id,
            timeout_ms=order.timeout_ms,
        )
        return self.respond({"group_id": group_id, "broker_id": order.broker_id})
