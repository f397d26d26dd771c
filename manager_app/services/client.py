"""Registering, expiring and revoking producers and consumers, in the database alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from http_base.tokens import GRACE_MS, VALID_MS
from manager_app import selectors
from manager_app.models import ID_MAX, ClientState, Consumer, Producer
from manager_app.row_updates import portions, rows_update
from manager_app.selectors import CLIENT_MODELS, ClientKey
from manager_app.services.cluster import fenced
from myqueue.contract.errors import TopicDoesNotExist, UnauthorizedException

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

TOKEN_LIFE = timedelta(milliseconds=VALID_MS + GRACE_MS)
"""How long a revoked id has to be remembered: until its last token has run out, grace included."""


def producer_create(topic_name: str) -> ClientKey:
    """Store a new producer of a topic and return its key.

    Raises:
        TopicDoesNotExist: there is no such topic.
    """
    with fenced():
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
    with fenced():
        topic = selectors.topic_get(topic_name)
        consumer = Consumer.objects.create(topic=topic, start=start, last_heartbeat=timezone.now())
    return ClientKey("consumer", consumer.pk)


def client_reattach(key: ClientKey, topic_name: str) -> None:
    """Make a registered client alive again; it keeps its id and its cursors.

    One whose id was given out and that is not in the database is stored again. Its token was
    checked, and whoever was removed is remembered for as long as its tokens last: so it is one that
    registered after the backup that the database was restored from.

    Raises:
        UnauthorizedException: it is unknown, was revoked, or belongs to another topic.
    """
    model, now = CLIENT_MODELS[key.kind], timezone.now()
    refusal = UnauthorizedException(
        f"{key.kind} {key.client_id} is not registered for topic {topic_name[:260]!r}; register"
        " without an id"
    )
    with fenced():
        if key.client_id > selectors.last_id(model):
            raise refusal
        try:
            topic = selectors.topic_get(topic_name)
        except TopicDoesNotExist as error:
            raise refusal from error
        rows = model.objects.filter(pk=key.client_id)
        living = rows.exclude(state=ClientState.REVOKED).filter(topic=topic)
        if not living.update(state=ClientState.ALIVE, last_heartbeat=now):
            if rows.exists():
                raise refusal
            model.objects.create(pk=key.client_id, topic=topic, last_heartbeat=now)


def client_revoke(key: ClientKey) -> str | None:
    """Revoke a client for good; brokers learn with their next report to refuse its token.

    Returns:
        The topic whose partitions have to forget it; None when there is no such client, or all of
        them have forgotten it.
    """
    if not 0 < key.client_id <= ID_MAX:
        return None
    with fenced():
        rows = CLIENT_MODELS[key.kind].objects.filter(pk=key.client_id, topic__isnull=False)
        topic = rows.values_list("topic__name", flat=True).first()
        rows.update(state=ClientState.REVOKED, revoked_at=timezone.now())
    return topic


def consumers_retire(now: datetime, *, forget_after_s: float, count_max: int) -> int:
    """Revoke expired consumers that have been silent for `forget_after_s`; return how many.

    Args:
        now: wall clock.
        forget_after_s: how long they may be silent, in seconds.
        count_max: most of them; the others come with the next call.
    """
    silent_since = now - timedelta(seconds=forget_after_s)
    silent = Consumer.objects.filter(state=ClientState.EXPIRED, last_heartbeat__lt=silent_since)
    ids = list(silent.order_by("last_heartbeat").values_list("id", flat=True)[:count_max])
    if not ids:
        return 0
    with fenced():
        # The conditions hold for the update too: one that came back meanwhile is left alone.
        return silent.filter(pk__in=ids).update(state=ClientState.REVOKED, revoked_at=now)


def revoked_take(now: datetime, *, count_max: int) -> list[tuple[ClientKey, str]]:
    """Return revoked clients that partitions may still know, each with its topic.

    Args:
        now: wall clock; those returned go to the end of the line, so that the next call takes
            others when their partitions do not answer.
        count_max: most of each kind.
    """
    taken: list[tuple[ClientKey, str]] = []
    for kind, model in CLIENT_MODELS.items():
        revoked = model.objects.filter(state=ClientState.REVOKED, topic__isnull=False)
        rows = revoked.order_by("revoked_at", "id").values_list("id", "topic__name")[:count_max]
        of_kind = [(ClientKey(kind, client_id), topic) for client_id, topic in rows]
        if of_kind:
            with fenced():
                revoked.filter(pk__in=[key.client_id for key, _ in of_kind]).update(revoked_at=now)
        taken += of_kind
    return taken


def revoked_forgotten(keys: Iterable[ClientKey]) -> None:
    """Note that all partitions have forgotten these revoked clients."""
    with fenced():
        for key in keys:
            rows = CLIENT_MODELS[key.kind].objects.filter(pk=key.client_id)
            rows.filter(state=ClientState.REVOKED).update(topic=None)


def heartbeats_record(heartbeats: Mapping[ClientKey, datetime]) -> None:
    """Store the last heartbeats of clients; expired ones are alive again, revoked ones stay."""
    for kind, model in CLIENT_MODELS.items():
        rows = [
            model(pk=key.client_id, state=ClientState.ALIVE, last_heartbeat=at)
            for key, at in sorted(heartbeats.items())
            if key.kind == kind
        ]
        if rows:
            with fenced():
                rows_update(
                    rows, ["state", "last_heartbeat"], unless=("state", ClientState.REVOKED)
                )


def clients_expire(keys: Iterable[ClientKey]) -> None:
    """Mark silent clients as expired; each may register again under its id."""
    keys = list(keys)
    for kind, model in CLIENT_MODELS.items():
        for ids in portions(sorted(key.client_id for key in keys if key.kind == kind)):
            with fenced():
                model.objects.filter(pk__in=ids, state=ClientState.ALIVE).update(
                    state=ClientState.EXPIRED
                )


def revoked_purge(now: datetime) -> None:
    """Delete revoked clients that all partitions have forgotten and whose tokens have run out."""
    for model in CLIENT_MODELS.values():
        over = {"state": ClientState.REVOKED, "topic": None, "revoked_at__lt": now - TOKEN_LIFE}
        if model.objects.filter(**over).exists():
            with fenced():
                model.objects.filter(**over).delete()
