"""Heartbeats of clients and brokers; state, liveness, readiness and figures of this manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from http_base import guard
from http_base.access import CLUSTER, KNOWN, KNOWN_WITH_INPUT, OPEN, OPERATE
from http_base.apidoc import describe
from http_base.calls import bearer_token
from http_base.metrics import MetricsView
from manager_app.answers import HeartbeatTaken, ManagerState, PassedHeartbeatsTaken
from manager_app.apis.base import ManagerView
from manager_app.brokers.reports import beat_broker
from manager_app.clients.heartbeat_passing import KINDS, PassedHeartbeats, take_heartbeats
from manager_app.clients.registration import renew_token
from manager_app.cluster_figures import manager_families
from manager_app.inputs import HealthQuery
from manager_app.proxy.primary import speaker_of
from manager_app.runtime import installed
from manager_app.selectors import ClientKey
from myqueue.contract.answers import DONE
from myqueue.contract.errors import ClientNotFound, InvalidRequest, NotReady
from myqueue.contract.inputs import HEALTH_BROKER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric
    from rest_framework.response import Response

    from http_base.views import ApiRequest
    from manager_app.runtime import ManagerRuntime

METADATA_AGE_MAX_MS = 15_000
"""A manager whose metadata is older is not ready: its database does not answer."""

_NOT_STARTED = "the manager has not started"
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class HealthApi(ManagerView):
    """Heartbeats, and without parameters a health check."""

    @describe(
        summary="Record a heartbeat of a consumer (0), producer (1) or broker (2)",
        access=KNOWN_WITH_INPUT,
        input=HealthQuery,
        answer=HeartbeatTaken(type=0, key=1),
        other_answers=[ManagerState],
        tags=["health"],
        sample={"type": 0, "key": 1},
        query=True,
        deprecated="POST /health for heartbeats",
    )
    async def get(self, request: ApiRequest) -> Response:
        """Answer the state of this manager; with parameters record a heartbeat, as POST does."""
        call = self.read(request, HealthQuery)
        if call.type is not None or call.key is not None:
            return await self._take(request, call)
        present = installed()
        if present is None:
            raise NotReady(_NOT_STARTED, reasons=[_NOT_STARTED])
        return self.respond(_state(present))

    @describe(
        summary="Record a heartbeat of a consumer (0), producer (1) or broker (2)",
        access=KNOWN,
        input=HealthQuery,
        answer=HeartbeatTaken(type=0, key=1),
        tags=["health"],
        needs=["type", "key"],
        sample={"type": 0, "key": 1},
    )
    async def post(self, request: ApiRequest) -> Response:
        """Record that a client or a broker lives.

        A broker's key is its id or its address. A client that sends its token as bearer gets a new
        one, valid for thirty days. A read-only manager passes heartbeats of producers and consumers
        on to the primary.
        """
        return await self._take(request, self.read(request, HealthQuery))

    async def _take(self, request: ApiRequest, call: HealthQuery) -> Response:
        for name in ("type", "key"):
            if getattr(call, name) is None:
                raise InvalidRequest(f"{name} is missing: give type and key", field=name)
        assert call.type is not None
        assert call.key is not None
        if call.type == HEALTH_BROKER:
            guard.require(request.caller, OPERATE)
        await self._beat(call.type, call.key, speaker_of(request))
        token = bearer_token(request)
        renewed: str | UnsetType = UNSET
        if token is not None and (kind := KINDS.get(call.type)) is not None:
            key = ClientKey(kind, _client_id(kind, call.key))
            renewed = renew_token(self.runtime, key, token)
        return self.respond(HeartbeatTaken(type=call.type, key=call.key, token=renewed))

    async def _beat(self, kind_number: int, key: int | str, address: str) -> None:
        runtime = self.runtime
        if kind_number == HEALTH_BROKER:
            runtime.require_primary()
            if not await runtime.database.run(beat_broker, runtime, key):
                raise ClientNotFound(f"there is no broker {str(key)[:260]!r}", field="key")
        elif (kind := KINDS.get(kind_number)) is not None:
            await runtime.clients.beat(kind, _client_id(kind, key), address=address)
        else:
            raise InvalidRequest(
                f"type must be 0 (consumer), 1 (producer) or 2 (broker), not {kind_number}",
                field="type",
            )


class PassedHeartbeatsApi(ManagerView):
    """Heartbeats of clients that a read-only manager took."""

    @describe(
        summary="Take heartbeats of clients from a read-only manager (internal)",
        access=CLUSTER,
        input=PassedHeartbeats,
        answer=PassedHeartbeatsTaken(taken=2),
        tags=["internal"],
    )
    async def post(self, request: ApiRequest) -> Response:
        """Record the heartbeats, each at the time at which it came."""
        self.runtime.require_primary()
        heartbeats = self.read(request, PassedHeartbeats).signs
        take_heartbeats(self.runtime.clients, heartbeats)
        return self.respond(PassedHeartbeatsTaken(taken=len(heartbeats)))


class LivenessApi(ManagerView):
    """Liveness: whether the process answers."""

    @describe(summary="Tell that this process answers", access=OPEN, tags=["health"])
    async def get(self, request: ApiRequest) -> Response:
        """Answer 200."""
        return self.respond(DONE)


class ReadinessApi(ManagerView):
    """Readiness: whether the manager can do its work."""

    @describe(
        summary="Tell whether this manager can do its work",
        access=OPEN,
        answer=ManagerState(
            read_only=False,
            primary="http://127.0.0.1:8000",
            metadata_version=7,
            metadata_age_ms=120,
            open_calls=0,
        ),
        tags=["health"],
    )
    async def get(self, request: ApiRequest) -> Response:
        """Answer 200, or 503 NOT_READY with the reasons; at once, from what is known here."""
        present = installed()
        reasons = _reasons(present)
        if reasons or present is None:
            raise NotReady(f"not ready: {'; '.join(reasons)}", reasons=reasons)
        return self.respond(_state(present))


class MetricsApi(MetricsView):
    """Figures of this manager."""

    async def families(self) -> Iterable[Metric]:
        """Return those of the manager, of the cluster and of its groups."""
        return await manager_families()


def _client_id(kind: str, key: int | str) -> int:
    if isinstance(key, str):
        if not _NUMBER.fullmatch(key):
            raise ClientNotFound(f"there is no {kind} {key[:40]!r}", field="key")
        return int(key)
    return key


def _reasons(runtime: ManagerRuntime | None) -> list[str]:
    """Return why this manager cannot do its work; empty when it can."""
    if runtime is None:
        return [_NOT_STARTED]
    reasons = []
    metadata = runtime.metadata
    if metadata.is_away:
        reasons.append("the database does not answer")
    elif not metadata.current.version:
        reasons.append("no primary has set up the database")
    age_ms = metadata.age_ms
    if age_ms is None or age_ms > METADATA_AGE_MAX_MS:
        reasons.append(f"the metadata in memory is {age_ms} ms old")
    return reasons


def _state(runtime: ManagerRuntime) -> ManagerState:
    return ManagerState(
        read_only=runtime.read_only,
        primary=runtime.metadata.current.primary_address,
        metadata_version=runtime.metadata.current.version,
        metadata_age_ms=runtime.metadata.age_ms,
        open_calls=runtime.open_calls,
    )
