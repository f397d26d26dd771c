"""Producers and consumers: registration, removal, lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from http_base import guard
from http_base.access import ADMINISTER, CONSUMING, PRODUCING, VIEW, is_api_token
from http_base.apidoc import CLIENT_TOKEN, TOKEN_SAMPLE, describe
from http_base.calls import bearer_token, is_cluster
from manager_app import selectors
from manager_app.answers import (
    ClientFacts,
    ClientForgotten,
    ConsumerFacts,
    ConsumerList,
    ConsumerRegistered,
    ProducerFacts,
    ProducerList,
    ProducerRegistered,
    Registered,
    unix_ms,
)
from manager_app.apis.base import ManagerView
from manager_app.apis.rendering import partitions_in_memory
from manager_app.apis.topics import PARTITION
from manager_app.clients.registration import (
    check_owner,
    forget_client,
    register_consumer,
    register_producer,
)
from manager_app.inputs import ClientsQuery
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.proxy.primary import speaker_of
from manager_app.selectors import ClientKey
from manager_app.services.events import event_store, person_named
from myqueue.contract.inputs import ClientForget, ConsumerRegister, ProducerRegister

if TYPE_CHECKING:
    from rest_framework.response import Response

    from http_base.guard import Caller
    from http_base.views import ApiRequest
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientRow

_R = TypeVar("_R", bound=Registered)
_F = TypeVar("_F", bound=ClientFacts)

_HEARD = 1_700_000_000_000


class ProducerRegisterApi(ManagerView):
    """Registration of producers."""

    @describe(
        summary="Register a producer; creates the topic if it is missing",
        access=PRODUCING,
        input=ProducerRegister,
        answer=ProducerRegistered(
            message="producer 1 is registered for topic 'logs'",
            producer_id=1,
            token=TOKEN_SAMPLE,
            topic="logs",
            number_of_partitions=1,
            partitions=[PARTITION],
        ),
        tags=["clients"],
    )
    def post(self, request: ApiRequest) -> Response:
        """Register a new producer; `producer_id` and `token` re-attach a registered one."""
        self.runtime.require_database()
        call = self.read(request, ProducerRegister)
        key, token = register_producer(
            self.runtime, call, caller=request.caller, address=speaker_of(request)
        )
        return self.respond(
            _registration(
                ProducerRegistered, self.runtime, call.topic, token, producer_id=key.client_id
            )
        )


class ConsumerRegisterApi(ManagerView):
    """Registration of consumers."""

    @describe(
        summary="Register a consumer",
        access=CONSUMING,
        input=ConsumerRegister,
        answer=ConsumerRegistered(
            message="consumer 1 is registered for topic 'logs'",
            consumer_id=1,
            token=TOKEN_SAMPLE,
            topic="logs",
            number_of_partitions=1,
            partitions=[PARTITION],
        ),
        tags=["clients"],
    )
    def post(self, request: ApiRequest) -> Response:
        """Register a new consumer; `consumer_id` and `token` re-attach a registered one."""
        self.runtime.require_database()
        call = self.read(request, ConsumerRegister)
        key, token = register_consumer(
            self.runtime, call, caller=request.caller, address=speaker_of(request)
        )
        return self.respond(
            _registration(
                ConsumerRegistered, self.runtime, call.topic, token, consumer_id=key.client_id
            )
        )


_forgetting = describe(
    summary="Forget a client and its state in the partitions",
    access=ADMINISTER,
    input=ClientForget,
    answer=ClientForgotten(message="producer 1 forgotten", partitions_pending=[]),
    token=CLIENT_TOKEN,
    tags=["clients"],
)


class ProducerApi(ManagerView):
    """Removal of a producer."""

    @_forgetting
    def delete(self, request: ApiRequest, client_id: int) -> Response:
        """Revoke the token, drop the sequences.

        Needs the token of the registration, as a field or as bearer, or the API token of an
        administrator, with `QUEUE_AUTH=off` too.
        """
        return _forget(self, request, ClientKey("producer", client_id))


class ConsumerApi(ManagerView):
    """Removal of a consumer."""

    @_forgetting
    def delete(self, request: ApiRequest, client_id: int) -> Response:
        """Revoke the token, drop the cursors.

        Needs the token of the registration, as a field or as bearer, or the API token of an
        administrator, with `QUEUE_AUTH=off` too.
        """
        return _forget(self, request, ClientKey("consumer", client_id))


class ProducersApi(ManagerView):
    """All producers."""

    @describe(
        summary="List registered producers",
        access=VIEW,
        input=ClientsQuery,
        answer=ProducerList(
            producers=[
                ProducerFacts(
                    producer_id=1,
                    topic="logs",
                    state="alive",
                    last_heartbeat=_HEARD,
                    address="127.0.0.1",
                )
            ],
            next=None,
        ),
        tags=["clients"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """List them in the order of their ids, for one topic or for all."""
        page = selectors.clients_list("producer", self.read(request, ClientsQuery))
        return self.respond(
            ProducerList(
                producers=[
                    _facts(ProducerFacts, self.runtime, row, producer_id=row.key.client_id)
                    for row in page.rows
                ],
                next=page.next,
            )
        )


class ConsumersApi(ManagerView):
    """All consumers."""

    @describe(
        summary="List registered consumers",
        access=VIEW,
        input=ClientsQuery,
        answer=ConsumerList(
            consumers=[
                ConsumerFacts(
                    consumer_id=1,
                    topic="logs",
                    state="alive",
                    last_heartbeat=_HEARD,
                    address="127.0.0.1",
                )
            ],
            next=None,
        ),
        tags=["clients"],
        query=True,
    )
    def get(self, request: ApiRequest) -> Response:
        """List them in the order of their ids, for one topic or for all."""
        page = selectors.clients_list("consumer", self.read(request, ClientsQuery))
        return self.respond(
            ConsumerList(
                consumers=[
                    _facts(ConsumerFacts, self.runtime, row, consumer_id=row.key.client_id)
                    for row in page.rows
                ],
                next=page.next,
            )
        )


def _forget(view: ManagerView, request: ApiRequest, key: ClientKey) -> Response:
    view.runtime.require_database()
    token = view.read(request, ClientForget).token
    shown = request.bearer
    administrator: Caller | None = None
    if token is None and shown is not None and is_api_token(shown):
        administrator = guard.current().caller_of(shown)
        guard.require(administrator, ADMINISTER)
    elif not is_cluster(request):
        guard.check_origin(check_owner(view.runtime, key, token or bearer_token(request)))
    pending = forget_client(view.runtime, key)
    message = f"{key.kind} {key.client_id} forgotten"
    if administrator is not None:
        event_store(
            Event(
                kind=EventKind.ACTION,
                action="client forgotten",
                text=message.capitalize(),
                person=person_named(administrator),
                origin=speaker_of(request),
                outcome=EventOutcome.DONE,
            )
        )
    return view.respond(ClientForgotten(message=message, partitions_pending=pending))


def _registration(
    kind: type[_R], runtime: ManagerRuntime, topic: str, token: str, **client_id: int
) -> _R:
    # Another manager may have made the topic just now.
    runtime.metadata.poll()
    partitions = partitions_in_memory(runtime.metadata, topic)
    [(name, number)] = client_id.items()
    return kind(
        message=f"{name.removesuffix('_id')} {number} is registered for topic {topic!r}",
        token=token,
        topic=topic,
        number_of_partitions=len(partitions),
        partitions=partitions,
        **client_id,
    )


def _facts(kind: type[_F], runtime: ManagerRuntime, row: ClientRow, **client_id: int) -> _F:
    return kind(
        topic=row.topic,
        state="expired" if runtime.clients.is_expired(row.key, row.state) else "alive",
        last_heartbeat=unix_ms(runtime.clients.latest(row.key, row.last_heartbeat)),
        address=runtime.clients.address(row.key),
        **client_id,
    )
