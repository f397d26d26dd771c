"""A manager for broker tests: a real HTTP server that takes reports and gives orders."""

from __future__ import annotations

from typing import Any, Self

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestServer

from http_base.cluster import (
    BrokerOrders,
    BrokerPlace,
    BrokerReport,
    DeletedPartition,
    ReplicaOrder,
)
from tests.doubles.routes import through

CLUSTER_ID = "c" * 32


class ManagerTwin:
    """Gives broker ids by incarnation, remembers all reports."""

    def __init__(self) -> None:
        self.reports: list[BrokerReport] = []
        self.authorizations: list[str] = []
        self.brokers: dict[str, BrokerPlace] = {}
        self.assignment: list[ReplicaOrder] = []
        self.deleted_groups: list[DeletedPartition] = []
        self.more: dict[str, Any] = {}
        """Fields of an answer that brokers do not know."""
        self.refusal: tuple[int, Any] | None = None
        self.raw: bytes | None = None
        """Answers everything, as a success."""
        self.takes = False
        """Whether a report may follow the one before; not in managers before this was known."""
        self.cluster_id = CLUSTER_ID
        routes = [
            web.post("/brokers/heartbeat", self._heartbeat),
            web.get("/topics/{topic}", self._topic),
            web.post("/topics", self._create),
        ]
        app = web.Application()
        app.add_routes(through(self._edge, routes))
        self.topics: dict[str, Any] = {}
        """Partitions by name."""
        self.created: list[dict[str, Any]] = []
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def address(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    async def _edge(self, handler: Any, request: web.Request) -> web.StreamResponse:
        if self.raw is not None:
            return web.Response(body=self.raw, content_type="application/json")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _topic(self, request: web.Request) -> web.Response:
        partitions = self.topics.get(request.match_info["topic"])
        if partitions is None:
            body = {"status": "failure", "code": "TOPIC_NOT_FOUND", "message": "no such topic"}
            return web.json_response(body, status=404)
        return web.json_response({"status": "success", "topic": "t", "partitions": partitions})

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        if wanted["topic"] in self.topics:
            body = {"status": "failure", "code": "TOPIC_ALREADY_EXISTS", "message": "there"}
            return web.json_response(body, status=409)
        self.created.append(wanted)
        self.topics[wanted["topic"]] = []
        return web.json_response({"status": "success"}, status=201)

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers["Authorization"])
        report = msgspec.json.decode(await request.read(), type=BrokerReport)
        self.reports.append(report)
        if self.refusal is not None:
            status, body = self.refusal
            return web.json_response(body, status=status)
        place = self.brokers.get(report.incarnation)
        if place is None:
            place = BrokerPlace(
                broker_id=len(self.brokers) + 1,
                address=report.address,
                raft_address=report.raft_address,
            )
            self.brokers[report.incarnation] = place
        orders = BrokerOrders(
            cluster_id=self.cluster_id,
            broker_id=place.broker_id,
            epoch=1,
            brokers=list(self.brokers.values()),
            assignment=self.assignment if report.full else [],
            deleted_groups=self.deleted_groups,
            taken=report.number if self.takes else 0,
        )
        body = {"status": "success", **msgspec.to_builtins(orders), **self.more}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")
