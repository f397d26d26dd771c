"""Producers and consumers: registration, removal, lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from http_base.apidoc import CLIENT_TOKEN, describe
from http_base.views import bearer_token, is_cluster
from manager_app import selectors
from manager_app.apis.answers import (
    ClientForgotten,
    ConsumerList,
    ConsumerRegistered,
    ProducerList,
    ProducerRegistered,
)
from manager_app.apis.base import ManagerView
from manager_app.apis.rendering import milliseconds, partitions_in_memory
from manager_app.clients.registration import (
    check_owner,
    forget_client,
    register_consumer,
    register_producer,
)
from manager_app.inputs import ClientsQuery
from manager_app.models import ClientState
from manager_app.selectors import ClientKey, ClientKind
from myqueue.contract.inputs import ClientForget, ConsumerRegister, ProducerRegister

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.response import Response

    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientRow

_PARTITIONS = [
    {
        "partition": 0,
        "group_id": 1,
        "leader": {"broker_id": 1, "address": "http://127.0.0.1:8001"},
        "term": 1,
        "replicas": [{"broker_id": 1, "address": "http://127.0.0.1:8001"}],
    }
]
_ALIVE = {"topic": "logs", "state": "alive", "last_heartbeat": 1_700_000_000_000}


class ProducerRegisterApi(ManagerView):
    """Registration of producers."""

    @describe(
        summary="Register a producer; creates the topic if it is missing",
        input=ProducerRegister,
        returns=ProducerRegistered,
        answer={
            "message": "producer 1 is registered for topic 'logs'",
            "producer_id": 1,
            "token": "...",
            "topic": "logs",
            "number_of_partitions": 1,
            "partitions": _PARTITIONS,
        },
        tags=["clients"],
    )
    def post(self, request: Request) -> Response:
        """Register a new one, or with `producer_id` and `token` re-attach a known one."""
        self.runtime.require_primary()
        call = self.read(request, ProducerRegister)
        key, token = register_producer(self.runtime, call)
        return self.respond(_registration(self.runtime, key, token, call.topic))


class ConsumerRegisterApi(ManagerView):
    """Registration of consumers."""

    @describe(
        summary="Register a consumer",
        input=ConsumerRegister,
        returns=ConsumerRegistered,
        answer={
            "message": "consumer 1 is registered for topic 'logs'",
            "consumer_id": 1,
            "token": "...",
            "topic": "logs",
            "number_of_partitions": 1,
            "partitions": _PARTITIONS,
        },
        tags=["clients"],
    )
    def post(self, request: Request) -> Response:
        """Register a new one, or with `consumer_id` and `token` re-attach a known one."""
        self.runtime.require_primary()
        call = self.read(request, ConsumerRegister)
        key, token = register_consumer(self.runtime, call)
        return self.respond(_registration(self.runtime, key, token, call.topic))


class _ClientApi(ManagerView):
    """Removal of one client."""

    kind: ClassVar[ClientKind]

    @describe(
        summary="Forget a client and its state in the partitions",
        input=ClientForget,
        returns=ClientForgotten,
        token=CLIENT_TOKEN,
        answer={"message": "producer 1 forgotten", "partitions_pending": []},
        tags=["clients"],
    )
    def delete(self, request: Request, client_id: int) -> Response:
        """Revoke it; needs its token, as a field or as bearer."""
        self.runtime.require_primary()
        key = ClientKey(self.kind, client_id)
        token = self.read(request, ClientForget).token
        if not is_cluster(request):
            check_owner(self.runtime, key, token or bearer_token(request))
        pending = forget_client(self.runtime, key)
        return self.respond(
            {"message": f"{self.kind} {client_id} forgotten", "partitions_pending": pending}
        )


class ProducerApi(_ClientApi):
    """Removal of a producer."""

    kind = "producer"


class ConsumerApi(_ClientApi):
    """Removal of a consumer."""

    kind = "consumer"


class _ClientsApi(ManagerView):
    """All clients of a kind."""

    kind: ClassVar[ClientKind]

    def _list(self, request: Request) -> Response:
        """Return them by id, of one topic or of all."""
        topic = self.read(request, ClientsQuery).topic
        rows = selectors.clients_list(self.kind, topic)
        return self.respond({f"{self.kind}s": [_client(self.runtime, row) for row in rows]})


class ProducersApi(_ClientsApi):
    """All producers."""

    kind = "producer"

    @describe(
        summary="List registered producers",
        input=ClientsQuery,
        returns=ProducerList,
        answer={"producers": [{"producer_id": 1, **_ALIVE}]},
        tags=["clients"],
        query=True,
    )
    def get(self, request: Request) -> Response:
        """Return them by id, of one topic or of all."""
        return self._list(request)


class ConsumersApi(_ClientsApi):
    """All consumers."""

    kind = "consumer"

    @describe(
        summary="List registered consumers",
        input=ClientsQuery,
        returns=ConsumerList,
        answer={"consumers": [{"consumer_id": 1, **_ALIVE}]},
        tags=["clients"],
        query=True,
    )
    def get(self, request: Request) -> Response:
        """Return them by id, of one topic or of all."""
        return self._list(request)


def _registration(
    runtime: ManagerRuntime, key: ClientKey, token: str, topic: str
) -> dict[str, Any]:
    # Another manager may have made the topic just now.
    runtime.metadata.poll()
    partitions = partitions_in_memory(runtime.metadata, topic)
    return {
        "message": f"{key.kind} {key.client_id} is registered for topic {topic!r}",
        f"{key.kind}_id": key.client_id,
        "token": token,
        "topic": topic,
        "number_of_partitions": len(partitions),
        "partitions": partitions,
    }


def _client(runtime: ManagerRuntime, row: ClientRow) -> dict[str, Any]:
    expired = runtime.clients.is_expired(row.key, row.state)
    return {
        f"{row.key.kind}_id": row.key.client_id,
        "topic": row.topic,
        "state": str(ClientState.EXPIRED if expired else ClientState.ALIVE),
        "last_heartbeat": milliseconds(runtime.clients.latest(row.key, row.last_heartbeat)),
    }
