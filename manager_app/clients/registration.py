"""Registering and forgetting producers and consumers, and the tokens that prove who they are.

These functions block and belong into the threads of the ordinary views.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from http_base.access import CHANGE_TOPIC
from http_base.guard import require
from http_base.tokens import GRACE_MS, ClientToken, sign_client, verify_client
from manager_app import selectors
from manager_app.brokers.orders import ORDERS_LIMIT_S
from manager_app.models import Event, EventKind, EventOutcome
from manager_app.placement.topic_changes import create_topic
from manager_app.selectors import ClientKey
from manager_app.services.client import (
    client_reattach,
    client_revoke,
    consumer_create,
    producer_create,
    revoked_forgotten,
    revoked_take,
)
from manager_app.services.events import about, event_store, person_named
from myqueue.contract.errors import (
    ClientNotFound,
    InvalidRequest,
    QueueError,
    TopicAlreadyExists,
    TopicDoesNotExist,
    UnauthorizedException,
)
from myqueue.contract.inputs import TopicCreate

if TYPE_CHECKING:
    from http_base.guard import Caller
    from manager_app.runtime import ManagerRuntime
    from myqueue.contract.inputs import ConsumerRegister, ProducerRegister

logger = logging.getLogger(__name__)

FORGET_AT_ONCE = 50
"""Revoked clients of a kind that one round has partitions forget: `FORGET_ROUND_S` suffices for as
many where all leaders answer."""


def register_producer(
    runtime: ManagerRuntime,
    call: ProducerRegister,
    *,
    caller: Caller | None = None,
    address: str = "",
) -> tuple[ClientKey, str]:
    """Register a producer, creating its topic if it is missing; return its key and token.

    With a `producer_id` the producer re-attaches under its id, and shows its token for that.

    Args:
        runtime: of this manager.
        call: what is asked for.
        caller: who registers, whom the token names; None where that does not matter.
        address: from where; empty where that is not known.

    Raises:
        UnauthorizedException: the token of a producer that re-attaches is missing or another's.
        Forbidden: the topic is missing, and the caller may not create it.
        QueueError: the topic cannot be created.
    """
    if call.producer_id is not None:
        key = ClientKey("producer", call.producer_id)
        return _reattach(runtime, key, call, caller, address=address)
    _refuse_token(call.token, "producer_id")
    try:
        selectors.topic_get(call.topic)
    except TopicDoesNotExist:
        require(caller, CHANGE_TOPIC, [call.topic])
        with suppress(TopicAlreadyExists):  # another producer was faster
            create_topic(runtime, TopicCreate(topic=call.topic))
            event_store(_created_by_producer(call.topic, caller))
    key = producer_create(call.topic)
    return _registered(runtime, key, call.topic, caller, address=address)


def _created_by_producer(topic: str, caller: Caller | None) -> Event:
    return Event(
        kind=EventKind.CONFIGURATION,
        action="topic created",
        text=f"Topic '{topic}' was created for its first producer",
        about=about(topic=topic),
        person=person_named(caller),
        outcome=EventOutcome.DONE,
    )


def register_consumer(
    runtime: ManagerRuntime,
    call: ConsumerRegister,
    *,
    caller: Caller | None = None,
    address: str = "",
) -> tuple[ClientKey, str]:
    """Register a consumer; return its key and token.

    With `start=latest` its cursors are opened at the high watermarks before the answer: it reads
    every message that is produced after it. With a `consumer_id` the consumer re-attaches under its
    id, and shows its token for that.

    Args:
        runtime: of this manager.
        call: what is asked for.
        caller: who registers, whom the token names; None where that does not matter.
        address: from where; empty where that is not known.

    Raises:
        UnauthorizedException: the token of a consumer that re-attaches is missing or another's.
        TopicDoesNotExist: there is no such topic.
        QueueError: a cursor could not be opened; no consumer is left behind.
    """
    if call.consumer_id is not None:
        key = ClientKey("consumer", call.consumer_id)
        return _reattach(runtime, key, call, caller, address=address)
    _refuse_token(call.token, "consumer_id")
    key = consumer_create(call.topic, call.start)
    if call.start == "latest":
        try:
            topic = runtime.run(runtime.find_topic(call.topic), timeout_s=ORDERS_LIMIT_S)
            opening = runtime.orders.open_cursors(topic, key.client_id, call.start)
            runtime.run(opening, timeout_s=ORDERS_LIMIT_S)
        except QueueError:
            client_revoke(key)
            raise
    return _registered(runtime, key, call.topic, caller, address=address)


def forget_client(runtime: ManagerRuntime, key: ClientKey) -> list[int]:
    """Revoke a client and have its partitions drop its state.

    Returns:
        The indexes of the partitions that still have it. `forget_revoked` tries them again.

    Raises:
        ClientNotFound: there is no such client, or all its partitions have forgotten it.
    """
    name = client_revoke(key)
    if name is None:
        raise ClientNotFound(f"there is no {key.kind} {str(key.client_id)[:20]}")
    runtime.clients.forget(key)
    try:
        topic = runtime.metadata.topic(name)
    except TopicDoesNotExist:
        return []
    forgetting = runtime.orders.forget_client(topic, key)
    pending = runtime.run(forgetting, timeout_s=ORDERS_LIMIT_S)
    if not pending:
        revoked_forgotten([key])
    return pending


def forget_revoked(runtime: ManagerRuntime) -> list[ClientKey]:
    """Have partitions drop the state of revoked clients that they may still have.

    At most `FORGET_AT_ONCE` of a kind, for a limited time; the others come with later calls.

    Returns:
        The clients that all their partitions have forgotten now.
    """
    taken = revoked_take(runtime.now(), count_max=FORGET_AT_ONCE)
    topics = runtime.metadata.current.topics
    clients = [(topics[name], key) for key, name in taken if name in topics]
    if not clients:
        return []
    forgetting = runtime.orders.forget_clients(clients)
    forgotten = runtime.run(forgetting, timeout_s=ORDERS_LIMIT_S)
    revoked_forgotten(forgotten)
    if len(forgotten) < len(taken):
        logger.info("partitions still know %d revoked clients", len(taken) - len(forgotten))
    return forgotten


def renew_token(runtime: ManagerRuntime, key: ClientKey, token: str) -> str:
    """Return a token of the client that lasts from now on.

    Raises:
        UnauthorizedException: the token shown is another client's, or past its time and grace.
    """
    said = _check_own_token(runtime, key, token)
    return sign_client(runtime.secret, said._replace(issued_ms=runtime.now_ms))


def check_owner(runtime: ManagerRuntime, key: ClientKey, token: str | None) -> ClientToken:
    """Check that a call comes from the client itself; return what its token says.

    Raises:
        UnauthorizedException: the token is missing or another's.
    """
    return _check_own_token(runtime, key, token)


def _reattach(
    runtime: ManagerRuntime,
    key: ClientKey,
    call: ProducerRegister | ConsumerRegister,
    caller: Caller | None,
    *,
    address: str,
) -> tuple[ClientKey, str]:
    topic = call.topic
    said = _check_own_token(runtime, key, call.token)
    if said.topic != topic:
        raise UnauthorizedException(
            f"{key.kind} {key.client_id} is not registered for topic {topic[:260]!r}"
        )
    client_reattach(key, topic)
    return _registered(runtime, key, topic, caller, address=address)


def _check_own_token(runtime: ManagerRuntime, key: ClientKey, token: str | None) -> ClientToken:
    if token is None:
        raise UnauthorizedException(
            f"{key.kind} {str(key.client_id)[:20]} must show the token of its registration",
            field="token",
        )
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms, grace_ms=GRACE_MS)
    if (said.kind, said.client_id) != key:
        raise UnauthorizedException(
            f"the token is not that of {key.kind} {str(key.client_id)[:20]}", field="token"
        )
    return said


def _refuse_token(token: str | None, field: str) -> None:
    if token is not None:
        raise InvalidRequest(f"a token without {field} says nothing: give both", field=field)


def _registered(
    runtime: ManagerRuntime, key: ClientKey, topic: str, caller: Caller | None, *, address: str
) -> tuple[ClientKey, str]:
    runtime.clients.register(key, topic, address=address)
    origin = "" if caller is None else caller.holder.origin
    token = ClientToken(key.kind, key.client_id, topic, runtime.now_ms, origin)
    return key, sign_client(runtime.secret, token)
