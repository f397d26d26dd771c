"""Registering, expiring and revoking producers and consumers, in the database alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from django.db import transaction
from django.utils import timezone

from http_base.tokens import GRACE_MS, VALID_MS
from manager_app import selectors
from manager_app.models import Client, ClientState, Consumer, Producer
from manager_app.selectors import CLIENT_MODELS, ClientKey
from myqueue.errors import UnauthorizedException

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

_Client = TypeVar("_Client", bound=Client)

ROWS_PER_UPDATE = 500
TOKEN_LIFE = timedelta(milliseconds=VALID_MS + GRACE_MS)
"""How long a revoked id has to be remembered: its last token is then past its time."""


def producer_create(topic_name: str) -> ClientKey:
    """Store a new producer of a topic and return its key.

    Raises:
        TopicDoesNotExist: there is no such topic.
    """
    with transaction.atomic():
        topic = selectors.topic_get(topic_name)
        producer = Producer.objects.create(topic=topic, last_heartbeat=timezone.now())
    return ClientKey("producer", producer.pk)


def consumer_create(topic_name: str, start: str) -> ClientKey:
    """Store a new consumer of a topic and return its key.

    Args:
        topic_name: of its topic.
        start: earliest or latest.

    Raises:
        TopicDoesNotExist: there is no such topic.
    """
    with transaction.atomic():
        topic = selectors.topic_get(topic_name)
        consumer = Consumer.objects.create(topic=topic, start=start, last_heartbeat=timezone.now())
    return ClientKey("consumer", consumer.pk)


def client_reattach(key: ClientKey, topic_name: str) -> None:
    """Let a known client live again; it keeps its id and its cursors.

    Raises:
        UnauthorizedException: it is unknown, was revoked, or belongs to another topic.
    """
    with transaction.atomic():
        row = selectors.client_find(key)
        if row is None or row.topic != topic_name:
            raise UnauthorizedException(
                f"{key.kind} {key.client_id} is not registered for topic {topic_name[:260]!r};"
                " register without an id"
            )
        CLIENT_MODELS[key.kind].objects.filter(pk=key.client_id).exclude(
            state=ClientState.REVOKED
        ).update(state=ClientState.ALIVE, last_heartbeat=timezone.now())


def client_revoke(key: ClientKey) -> None:
    """Forget a client for good; brokers are told not to take its token any more."""
    CLIENT_MODELS[key.kind].objects.filter(pk=key.client_id).update(
        state=ClientState.REVOKED, revoked_at=timezone.now()
    )


def heartbeats_record(heartbeats: Mapping[ClientKey, datetime]) -> None:
    """Store the last heartbeats of clients; those that are not alive stay as they are."""
    _record(
        Producer, {key.client_id: at for key, at in heartbeats.items() if key.kind == "producer"}
    )
    _record(
        Consumer, {key.client_id: at for key, at in heartbeats.items() if key.kind == "consumer"}
    )


def _record(model: type[_Client], heartbeats: Mapping[int, datetime]) -> None:
    alive = model._default_manager.filter(state=ClientState.ALIVE)
    for ids in _portions(sorted(heartbeats)):
        rows = [model(pk=client_id, last_heartbeat=heartbeats[client_id]) for client_id in ids]
        alive.bulk_update(rows, ["last_heartbeat"])


def clients_expire(keys: Iterable[ClientKey]) -> None:
    """Let silent clients expire; each may register again under its id."""
    keys = list(keys)
    for kind, model in CLIENT_MODELS.items():
        for ids in _portions(sorted(key.client_id for key in keys if key.kind == kind)):
            model.objects.filter(pk__in=ids, state=ClientState.ALIVE).update(
                state=ClientState.EXPIRED
            )


def revoked_purge(now: datetime) -> None:
    """Delete the rows of revoked clients whose tokens are past their time."""
    for model in CLIENT_MODELS.values():
        model.objects.filter(state=ClientState.REVOKED, revoked_at__lt=now - TOKEN_LIFE).delete()


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + ROWS_PER_UPDATE] for start in range(0, len(ids), ROWS_PER_UPDATE))
