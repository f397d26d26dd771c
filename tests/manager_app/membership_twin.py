"""The part of a broker in memory that changes members and drops replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from http_base.cluster import ReplicaTarget
from myqueue.contract.errors import NotLeader, PartitionNotFound, StalePlacement

if TYPE_CHECKING:
    from http_base.cluster import DeletedPartition
    from tests.manager_app.broker_twin import BrokerTwin
    from tests.manager_app.group_twin import GroupTwin

FIELDS = web.RequestKey("fields", dict[str, Any])
"""The input of a call, from body and query."""


class MembershipPart:
    """What one broker does with the members of its groups."""

    def __init__(self, broker: BrokerTwin) -> None:
        self.broker = broker
        self.faults: dict[int, str] = {}
        """Group id -> why the replica is faulty."""
        self.kept: dict[int, tuple[int, int]] = {}
        """Group id -> retention in milliseconds and bytes, as last ordered."""
        self.discarded: list[int] = []
        """Replica ids that were dropped because their groups are without them."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/partitions/{group_id}/replicas", self._replicas_post),
            web.get("/partitions/{group_id}/replicas", self._replicas_get),
        ]

    def discard(self, group_id: int, replica_id: int) -> bool:
        """Drop a replica that its group is without."""
        if self.broker.replicas.get(group_id) != replica_id:
            return False
        if replica_id in self.broker.cluster.groups[group_id].members:
            raise StalePlacement
        del self.broker.replicas[group_id]
        self.faults.pop(group_id, None)
        self.discarded.append(replica_id)
        return True

    def drop(self, deleted: DeletedPartition) -> None:
        """Drop a replica of a deleted topic."""
        if deleted.group_id not in self.broker.replicas:
            return
        order = self.broker.cluster.groups[deleted.group_id].order
        if (order.topic, order.partition) != (deleted.topic, deleted.partition):
            raise StalePlacement
        del self.broker.replicas[deleted.group_id]

    def advance(self, group: GroupTwin) -> None:
        """Let a group go on to its target as far as its replicas are there and well."""
        group_id = group.order.group_id
        sound = {
            twin.replicas[group_id]
            for twin in self.broker.cluster.brokers
            if twin.is_up and group_id in twin.replicas and group_id not in twin.membership.faults
        }
        while self.broker.cluster.moves_on and group.advance(sound):
            pass

    async def _replicas_post(self, request: web.Request) -> dict[str, Any]:
        group = self._led(request)
        group.change(msgspec.convert(request[FIELDS], ReplicaTarget))
        self.advance(group)
        return {"group_id": group.order.group_id, "change": {}}

    async def _replicas_get(self, request: web.Request) -> dict[str, Any]:
        group = self._led(request)
        return {
            "group_id": group.order.group_id,
            "version": group.version,
            "replicas": msgspec.to_builtins(group.places(group.voters)),
            "learners": msgspec.to_builtins(group.places(group.learners)),
        }

    def _led(self, request: web.Request) -> GroupTwin:
        group_id = int(request.match_info["group_id"])
        if group_id not in self.broker.replicas:
            raise PartitionNotFound
        group = self.broker.cluster.groups[group_id]
        if group.leader != self.broker.broker_id:
            raise NotLeader
        return group
