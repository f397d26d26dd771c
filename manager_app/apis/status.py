"""Heartbeats of clients and brokers, and how this manager itself is doing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.db import Error as DatabaseError

from http_base.apidoc import describe
from manager_app import operations, selectors
from manager_app.apis.answers import HeartbeatTaken, ManagerState
from manager_app.apis.base import HotManagerView, ManagerView
from manager_app.runtime import installed
from myqueue.errors import ClientNotFound, InvalidRequest, NotReady
from myqueue.protocol import HEALTH_BROKER, HEALTH_CONSUMER, HEALTH_PRODUCER, Health

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind

METADATA_AGE_MAX_MS = 15_000
"""Older than that the copy in memory is not fit for use: the database does not answer."""

_KINDS: dict[int, ClientKind] = {HEALTH_CONSUMER: "consumer", HEALTH_PRODUCER: "producer"}
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


class HealthApi(HotManagerView):
    """Heartbeats."""

    @describe(
        summary="Record a heartbeat of a consumer (0), producer (1) or broker (2)",
        input=Health,
        returns=HeartbeatTaken,
        answer={"type": 0, "key": 1},
        tags=["health"],
        query=True,
    )
    async def get(self, request: Request) -> Response:
        """Record it; a broker's key is its id or its address."""
        runtime = self.runtime
        runtime.require_primary()
        call = self.read(request, Health)
        if call.type == HEALTH_BROKER:
            if not await runtime.database.run(operations.beat_broker, runtime, call.key):
                raise ClientNotFound(f"there is no broker {str(call.key)[:260]!r}", field="key")
        elif (kind := _KINDS.get(call.type)) is not None:
            await runtime.clients.beat(kind, _client_id(kind, call.key))
        else:
            raise InvalidRequest(
                f"type must be 0 (consumer), 1 (producer) or 2 (broker), not {call.type}",
                field="type",
            )
        return self.respond({"type": call.type, "key": call.key})


class LivenessApi(HotManagerView):
    """Whether the process answers."""

    @describe(summary="Tell that this process answers", tags=["health"])
    async def get(self, request: Request) -> Response:
        """Answer."""
        return self.respond({})


class ReadinessApi(ManagerView):
    """Whether the process can do its work."""

    @describe(
        summary="Tell whether this manager can do its work",
        returns=ManagerState,
        answer={
            "read_only": False,
            "primary": "http://127.0.0.1:8000",
            "metadata_version": 7,
            "metadata_age_ms": 120,
            "open_calls": 0,
        },
        tags=["health"],
    )
    def get(self, request: Request) -> Response:
        """Answer 200, or 503 with the reasons."""
        present = installed()
        reasons = _reasons(present)
        if reasons or present is None:
            raise NotReady(f"not ready: {'; '.join(reasons)}", reasons=reasons)
        return self.respond(_state(present))


def _client_id(kind: str, key: int | str) -> int:
    if isinstance(key, str):
        if not _NUMBER.fullmatch(key):
            raise ClientNotFound(f"there is no {kind} {key[:40]!r}", field="key")
        return int(key)
    return key


def _reasons(runtime: ManagerRuntime | None) -> list[str]:
    """Return why this manager cannot do its work; empty when it can."""
    if runtime is None:
        return ["the manager has not started"]
    reasons = []
    try:
        if not selectors.metadata_version():
            reasons.append("no primary has set up the database")
    except DatabaseError as error:
        reasons.append(f"the database does not answer: {str(error).splitlines()[0]}")
    age_ms = runtime.metadata.age_ms
    if age_ms is None or age_ms > METADATA_AGE_MAX_MS:
        reasons.append(f"the metadata in memory is {age_ms} ms old")
    return reasons


def _state(runtime: ManagerRuntime) -> dict[str, Any]:
    return {
        "read_only": runtime.read_only,
        "primary": runtime.metadata.current.primary_address,
        "metadata_version": runtime.metadata.current.version,
        "metadata_age_ms": runtime.metadata.age_ms,
        "open_calls": runtime.open_calls,
    }
