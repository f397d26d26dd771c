"""/topics/{topic}/partitions/{partition}/loss: a partition that lost its quorum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.access import CLUSTER
from http_base.apidoc import INTERNAL, describe
from manager_app.answers import LossReplica, PartitionLoss
from manager_app.apis.base import ManagerView
from manager_app.inputs import LossAccept, Nothing
from manager_app.placement.losses import accept_loss, describe_loss

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.views import ApiRequest

_LOSS = PartitionLoss(
    topic="logs",
    partition=0,
    broker_id=2,
    replica_id=8,
    end_offset=152,
    known_offset=277,
    next_offset=1_000_277,
    accepted=False,
    replicas=[
        LossReplica(
            replica_id=8,
            broker_id=2,
            fault="its log ends at 155 in term 3, and it had told of 281 in term 3",
            last_index=155,
            end_offset=152,
            kept_offset=277,
        )
    ],
)


class LossApi(ManagerView):
    """What a partition loses that goes on with one replica."""

    @describe(
        summary="What a partition without a quorum would lose (cluster's token)",
        access=CLUSTER,
        answer=_LOSS,
        tags=[INTERNAL],
    )
    def get(self, request: ApiRequest, topic: str, partition: int) -> Response:
        """Return with which replica the partition would go on, and what is lost then.

        409 STALE_PLACEMENT when there is nothing to accept.
        """
        self.runtime.require_database()
        self.read(request, Nothing)
        return self.respond(describe_loss(self.runtime, topic, partition))

    @describe(
        summary="Let a partition without a quorum go on with one replica (cluster's token)",
        access=CLUSTER,
        input=LossAccept,
        answer=_LOSS,
        tags=[INTERNAL],
        sample={"by": "ada@example"},
    )
    def post(self, request: ApiRequest, topic: str, partition: int) -> Response:
        """Accept the loss: the replica with most goes on alone, the others are filled by it."""
        self.runtime.require_database()
        by = self.read(request, LossAccept).by
        return self.respond(accept_loss(self.runtime, topic, partition, by=by))
