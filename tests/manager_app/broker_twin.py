"""Brokers in memory that speak a broker's HTTP API, for the manager's tests.

The partitions of a cluster of twins are held once: they are as if perfectly replicated. What can
be made to go wrong: a twin that is down, one that breaks the connection before or after its work,
partitions without a leader, leaders that move.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer
from django.conf import settings

from http_base.cluster import (
    BrokerReport,
    BrokerStanding,
    DeletedPartition,
    ReplicaOrder,
    ReplicaReport,
)
from http_base.messages import message_answers, popped_answer
from http_base.tokens import is_cluster_token
from myqueue.contract.errors import (
    CommitTimeout,
    NoLeader,
    NotLeader,
    Overloaded,
    PartitionNotFound,
    QueueEmpty,
    QueueError,
    UnauthorizedException,
)
from myqueue.contract.inputs import (
    BATCH,
    Consume,
    Produce,
    ProduceBatch,
    SizeHere,
    read_input,
    records_of,
)
from myqueue.contract.records import decode_records
from tests.doubles.routes import through
from tests.manager_app.group_twin import GroupTwin
from tests.manager_app.loss_twin import LossPart
from tests.manager_app.membership_twin import FIELDS, MembershipPart
from tests.manager_app.offsets_twin import OffsetsPart
from tests.manager_app.passing_twin import PassingPart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_base.cluster import BrokerOrders
    from tests.manager_app.site import Site

_PLACE = ("topic", "partition")
DISK_FREE_BYTES = 1 << 40
"""Of every twin, unless a report says something else."""


@dataclass
class TwinCluster:
    """All twins and all groups."""

    secret: str
    elects: bool = True
    """The first replica of a new group leads at once, and says so."""
    moves_on: bool = True
    """Leaders change their members when they are told to."""
    groups: dict[int, GroupTwin] = field(default_factory=dict)
    brokers: list[BrokerTwin] = field(default_factory=list)
    send_report: Callable[[BrokerReport], Awaitable[BrokerOrders]] | None = None
    reporting: list[asyncio.Task[Any]] = field(default_factory=list)

    def by_id(self, broker_id: int) -> BrokerTwin:
        return next(twin for twin in self.brokers if twin.broker_id == broker_id)

    def group(self, topic: str, partition: int) -> GroupTwin:
        return next(
            group
            for group in self.groups.values()
            if (group.order.topic, group.order.partition) == (topic, partition)
        )

    async def add(self, count: int) -> None:
        for _ in range(count):
            twin = BrokerTwin(self)
            await twin.start()
            self.brokers.append(twin)

    async def stop(self) -> None:
        await self.reported()
        for twin in self.brokers:
            await twin.stop()

    def elect(self, group: GroupTwin, broker_id: int) -> None:
        """Let a broker win an election; nobody is told."""
        group.leader = broker_id
        group.term += 1
        self.by_id(broker_id).elected.append(group.order.group_id)

    def report_soon(self, twin: BrokerTwin, group: GroupTwin) -> None:
        task = asyncio.ensure_future(twin.report(full=False, groups=[group]))
        self.reporting.append(task)

    async def reported(self) -> None:
        """Wait until all reports that are on their way were taken."""
        while self.reporting:
            await self.reporting.pop()


class BrokerTwin:
    """One broker: an HTTP server in front of the shared groups."""

    def __init__(self, cluster: TwinCluster) -> None:
        self.cluster = cluster
        self.incarnation = secrets.token_hex(16)
        self.broker_id = 0
        self.replicas: dict[int, int] = {}
        """Group id -> replica id of what it holds."""
        self.orders: list[ReplicaOrder] = []
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.elected: list[int] = []
        self.refuses: dict[str, QueueError] = {}
        """Path -> what it answers instead."""
        self.breaks: dict[str, str] = {}
        """Path -> "before" or "after" its work the connection breaks, once."""
        self.membership = MembershipPart(self)
        self.losses = LossPart(self)
        self.offsets = OffsetsPart(self)
        self.passing = PassingPart(self)
        self.batches: list[bytes] = []
        """Record batches as they came."""
        self.standing = BrokerStanding(version=settings.VERSION, uptime_s=1.0)
        """What it tells of itself."""
        self.stopping = False
        self._server: TestServer | None = None
        self._port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def raft_address(self) -> str:
        return f"127.0.0.1:{self._port + 1000}"

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        routes = [
            web.post("/partitions", self._partitions_post),
            web.get("/partitions", self._partitions_get),
            web.delete("/partitions/{group_id}", self._partition_delete),
            web.post("/partitions/{group_id}/leader", self._leader_post),
            *self.membership.routes(),
            *self.losses.routes(),
            *self.offsets.routes(),
            *self.passing.routes(),
            web.post("/cursors/open", self._cursor_open),
            web.post("/clients/forget", self._client_forget),
            web.post("/producer/produce", self._produce),
            web.post("/consumer/consume", self._consume),
            web.get("/size", self._size),
            web.get("/standing", self._standing_get),
        ]
        app = web.Application(client_max_size=16 << 20)
        app.add_routes(through(self._edge, routes))
        self._server = TestServer(app, host="127.0.0.1", port=self._port or None)
        await self._server.start_server(shutdown_timeout=0.1, access_log=None)
        self._port = self._server.port

    async def stop(self) -> None:
        """Go down; `start` comes back at the same address."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.close()

    def called(self, path: str) -> list[dict[str, Any]]:
        """Return the input of all calls of a path."""
        return [fields for _, called, fields in self.calls if called == path]

    async def report(
        self, *, full: bool = True, groups: list[GroupTwin] | None = None, **changes: Any
    ) -> BrokerOrders:
        """Send a report to the manager and carry out its orders."""
        held = [self.cluster.groups[group_id] for group_id in self.replicas]
        report = BrokerReport(
            incarnation=self.incarnation,
            address=self.address,
            raft_address=self.raft_address,
            broker_id=self.broker_id,
            stopping=self.stopping,
            full=full,
            replicas=[self.replica_report(group) for group in (held if full else groups or [])],
            disk_free_bytes=DISK_FREE_BYTES,
        )
        report = msgspec.structs.replace(report, **changes)
        assert self.cluster.send_report is not None
        orders = await self.cluster.send_report(report)
        self.broker_id = orders.broker_id
        for removed in orders.removed_replicas:
            self.membership.discard(removed.group_id, removed.replica_id)
        for order in orders.assignment:
            self._take(order)
        for deleted in orders.deleted_groups:
            self.membership.drop(deleted)
        return orders

    def replica_report(self, group: GroupTwin) -> ReplicaReport:
        leads = group.leader == self.broker_id
        return ReplicaReport(
            group_id=group.order.group_id,
            replica_id=self.replicas[group.order.group_id],
            topic=group.order.topic,
            partition=group.order.partition,
            role="leader" if leads else "follower",
            term=group.term,
            leader_broker_id=group.leader,
            serves=leads,
            log_start_offset=group.begin,
            high_watermark=len(group.records),
            commit_index=len(group.records) + 2,
            applied_index=len(group.records) + 2,
            last_index=len(group.records) + 2,
            placement_version=group.version,
            replicas=group.places(group.voters),
            learners=group.places(group.learners),
            faulty=self.membership.faults.get(group.order.group_id, ""),
            suspects=sorted(group.suspects) if leads else [],
        )

    def _take(self, order: ReplicaOrder) -> None:
        self.membership.kept[order.group_id] = (order.retention_ms, order.retention_bytes)
        if self.replicas.get(order.group_id) == order.replica_id:
            return
        if order.group_id in self.replicas:
            self.membership.discard(order.group_id, self.replicas[order.group_id])
        self.orders.append(order)
        self.replicas[order.group_id] = order.replica_id
        group = self.cluster.groups.setdefault(order.group_id, GroupTwin(order))
        if self.cluster.elects and not group.leader and group.brokers[0] == self.broker_id:
            self.cluster.elect(group, self.broker_id)
            self.cluster.report_soon(self, group)

    async def _edge(self, handler: Any, request: web.Request) -> web.StreamResponse:
        """Authenticate, break connections on purpose, and answer in MessagePack."""
        path = request.path
        try:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not is_cluster_token(self.cluster.secret, token):
                raise UnauthorizedException
            body = await request.read()
            is_batch = request.content_type == BATCH
            if is_batch:
                self.batches.append(body)
            fields = msgspec.msgpack.decode(body) if body and not is_batch else {}
            request[FIELDS] = fields | dict(request.query)
            self.calls.append((request.method, path, request[FIELDS]))
            await self.offsets.hang(path)
            if self.breaks.get(path) == "before":
                del self.breaks[path]
                return self._hang_up(request)
            if path in self.refuses:
                raise self.refuses[path]
            answer = await handler(request)
            if isinstance(answer, web.StreamResponse):
                return answer
            answer = {"status": "success", **answer}
            if self.breaks.pop(path, None) == "after":
                return self._hang_up(request)
            status = 200
        except QueueError as error:
            answer, status = error.to_body(), error.http_status
        return web.Response(
            body=msgspec.msgpack.encode(answer),
            status=status,
            content_type="application/msgpack",
        )

    def _hang_up(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def led(self, fields: dict[str, Any]) -> GroupTwin:
        """Return the group of a call, if this broker leads it."""
        for group_id in self.replicas:
            group = self.cluster.groups[group_id]
            if (group.order.topic, group.order.partition) == (
                fields["topic"],
                int(fields["partition"]),
            ):
                break
        else:
            raise PartitionNotFound
        if not group.leader:
            raise NoLeader
        if group.leader != self.broker_id:
            leader = self.cluster.by_id(group.leader)
            raise NotLeader(leader={"broker_id": leader.broker_id, "address": leader.address})
        return group

    async def _partitions_post(self, request: web.Request) -> dict[str, Any]:
        self._take(msgspec.convert(request[FIELDS], ReplicaOrder))
        return {}

    async def _partitions_get(self, request: web.Request) -> dict[str, Any]:
        groups = [self.cluster.groups[group_id] for group_id in self.replicas]
        topic = request[FIELDS].get("topic")
        return {
            "partitions": [
                msgspec.to_builtins(self.replica_report(group))
                for group in groups
                if topic in (None, group.order.topic)
            ],
            "next": None,
        }

    async def _partition_delete(self, request: web.Request) -> dict[str, Any]:
        group_id = int(request.match_info["group_id"])
        if replica_id := int(request[FIELDS].get("replica_id", 0)):
            return {"deleted": self.membership.discard(group_id, replica_id)}
        named = {**request[FIELDS], "group_id": group_id}
        self.membership.drop(msgspec.convert(named, DeletedPartition, strict=False))
        return {}

    async def _leader_post(self, request: web.Request) -> dict[str, Any]:
        group = self.cluster.groups[int(request.match_info["group_id"])]
        if group.leader == request[FIELDS]["broker_id"]:
            return {}
        if group.leader != self.broker_id:
            raise NotLeader
        self.cluster.elect(group, request[FIELDS]["broker_id"])
        self.cluster.report_soon(self.cluster.by_id(group.leader), group)
        return {}

    async def _cursor_open(self, request: web.Request) -> dict[str, Any]:
        assert request[FIELDS].keys() == {*_PLACE, "consumer_id", "start", "timeout_ms"}
        group = self.led(request[FIELDS])
        latest = request[FIELDS]["start"] == "latest"
        group.cursors.setdefault(
            request[FIELDS]["consumer_id"], len(group.records) if latest else 0
        )
        return {}

    async def _client_forget(self, request: web.Request) -> dict[str, Any]:
        fields = request[FIELDS]
        assert fields.keys() - {"producer_id", "consumer_id"} == {*_PLACE, "timeout_ms"}
        group = self.led(fields)
        group.cursors.pop(fields.get("consumer_id"), None)
        return {}

    async def _produce(self, request: web.Request) -> dict[str, Any]:
        if request.content_type == BATCH:
            call = read_input(ProduceBatch, None, request[FIELDS])
            offset = self.led(request[FIELDS]).append(decode_records(self.batches[-1]))
            return {"partition": call.partition, "base_offset": offset, "count": 1, "term": 1}
        call = read_input(Produce, request[FIELDS])
        group = self.led(request[FIELDS])
        records = records_of(call, 1_700_000_000_000)
        mark = call.request_id or call.base_sequence
        known = None if mark is None else group.appends.get((call.producer_id, mark))
        offset = group.append(records) if known is None else known
        if mark is not None:
            group.appends[call.producer_id, mark] = offset
        return {
            "partition": group.order.partition,
            "base_offset": offset,
            "count": len(records),
            "term": group.term,
        }

    async def _consume(self, request: web.Request) -> dict[str, Any]:
        if "partitions" in request[FIELDS]:
            return await self.passing.consume_several(request[FIELDS], self._pop)
        return await self._pop(request[FIELDS])

    async def _pop(self, fields: dict[str, Any]) -> dict[str, Any]:
        call = read_input(Consume, fields)
        group = self.led(fields)
        start = group.cursors.setdefault(call.consumer_id, 0)
        if call.wait_ms and start >= len(group.records):
            await self.wait(group, call.wait_ms)
        mark = (call.consumer_id, call.request_id or "")
        begin, end = start, min(len(group.records), start + (call.max_messages or 1))
        if call.request_id and mark in group.pops:
            begin, end = group.pops[mark]
        elif end > begin:
            group.cursors[call.consumer_id] = end
            if call.request_id:
                group.pops[mark] = (begin, end)
        messages = message_answers(
            enumerate(group.records[begin:end], begin),
            topic=group.order.topic,
            partition=group.order.partition,
            binary=True,
        )
        if call.max_messages is None and not messages:
            raise QueueEmpty
        left_out = {"missed": group.missed, "corrupt": group.corrupt}
        if call.max_messages:
            place = {"topic": call.topic, "partition": group.order.partition}
            return {**place, "messages": messages, **left_out}
        popped: dict[str, Any] = msgspec.to_builtins(popped_answer(messages[0], **left_out))
        return popped

    async def _standing_get(self, request: web.Request) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(self.standing)
        return told

    async def _size(self, request: web.Request) -> dict[str, Any]:
        call = read_input(SizeHere, {}, request[FIELDS])
        group = self.led(request[FIELDS])

        def left() -> int:
            return len(group.records) - group.cursors.get(call.consumer_id, 0)

        if call.wait_ms and not left():
            await self.wait(group, call.wait_ms)
        answer = {"topic": call.topic, "partition": group.order.partition, "size": left()}
        if call.request_id is not None:
            answer["remembers"] = (call.consumer_id, call.request_id) in group.pops
        return answer

    async def wait(self, group: GroupTwin, wait_ms: int) -> None:
        arrived = asyncio.ensure_future(group.arrived.wait())
        await asyncio.wait((arrived,), timeout=wait_ms / 1000)
        arrived.cancel()


def unknown_outcome() -> CommitTimeout:
    """What a leader without a quorum answers."""
    return CommitTimeout("no quorum in time")


def overloaded() -> Overloaded:
    """What a broker at its limit answers."""
    return Overloaded("the limit is reached", retry_after_ms=100)


def counts(site: Site, topic: str = "logs") -> list[int]:
    """Return the number of messages in each partition of a topic."""
    groups = [group for group in site.twins.groups.values() if group.order.topic == topic]
    groups.sort(key=lambda group: group.order.partition)
    return [len(group.records) for group in groups]
