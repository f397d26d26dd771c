"""The part of a broker in memory that examines a replica and lets it go on alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from http_base.cluster import LossOrder, StoredReplica
from myqueue.contract.errors import PartitionNotFound, StalePlacement
from tests.manager_app.membership_twin import FIELDS

if TYPE_CHECKING:
    from tests.manager_app.broker_twin import BrokerTwin


class LossPart:
    """What one broker has of its partitions, whatever made them faulty."""

    def __init__(self, broker: BrokerTwin) -> None:
        self.broker = broker
        self.ends: dict[int, tuple[int, int]] = {}
        """Group id -> last index and end offset, where they are not those of the group."""
        self.unusable: dict[int, str] = {}
        """Group id -> why it cannot be gone on with."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/partitions/{group_id}/stored", self._get),
            web.post("/partitions/{group_id}/stored", self._post),
        ]

    async def _get(self, request: web.Request) -> dict[str, Any]:
        broker, group_id = self.broker, int(request.match_info["group_id"])
        if group_id not in broker.replicas:
            raise PartitionNotFound
        group = broker.cluster.groups[group_id]
        faulty = broker.membership.faults.get(group_id, "")
        end = len(group.records)
        last_index, end_offset = self.ends.get(group_id, (end + 2, end))
        found = StoredReplica(
            replica_id=broker.replicas[group_id],
            faulty=faulty,
            hears_leader=bool(group.leader) and not faulty,
            unusable=self.unusable.get(group_id, ""),
            term=group.term,
            last_term=group.term,
            last_index=last_index,
            end_offset=end_offset,
        )
        told: dict[str, Any] = msgspec.to_builtins(found)
        return told

    async def _post(self, request: web.Request) -> dict[str, Any]:
        broker, group_id = self.broker, int(request.match_info["group_id"])
        order = msgspec.convert(request[FIELDS], LossOrder)
        if broker.replicas.get(group_id) == order.replica_id:
            return {}
        if broker.replicas.get(group_id) != order.old_replica_id:
            raise StalePlacement
        group = broker.cluster.groups[group_id]
        broker.replicas[group_id] = order.replica_id
        broker.membership.faults.pop(group_id, None)
        self.ends.pop(group_id, None)
        group.voters, group.learners = {order.replica_id: broker.broker_id}, {}
        group.target, group.version = dict(group.voters), order.version
        group.term = max(group.term, order.above_term)
        broker.cluster.elect(group, broker.broker_id)
        return {}
