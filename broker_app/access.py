"""Who may do what on a broker: tokens are checked here, without asking anyone."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings

from broker_app.runtime import state_of
from http_base import guard
from http_base.calls import bearer_token, is_cluster, origin_of
from http_base.tokens import GRACE_MS, VALID_MS, verify_client
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from broker_app.client_origins import Name, Table
    from broker_app.runtime import BrokerRuntime
    from http_base.calls import Call
    from http_base.tokens import ClientToken
    from raft_app.engine.replica import Replica

PRODUCER, CONSUMER = "producer", "consumer"


def require_client(
    call: Call,
    runtime: BrokerRuntime,
    *,
    kind: str,
    client_id: int,
    topic: str,
    token: str | None,
) -> None:
    """Let a client act under its own id, and the cluster under any.

    Args:
        call: whose token counts.
        runtime: of this broker.
        kind: `producer` or `consumer`.
        client_id: whom the call names.
        topic: which topic it names.
        token: the field of the call; without it the bearer token counts.

    Raises:
        UnauthorizedException: there is no token, or it is of another client, kind or topic.
    """
    if is_cluster(call):
        return
    claims = _claims(call, runtime, topic=topic, token=token)
    if (claims.kind, claims.client_id) != (kind, client_id):
        raise UnauthorizedException(
            f"the token is of {claims.kind} {claims.client_id}, not of {kind} {client_id}"
        )


def require_topic_client(
    call: Call,
    runtime: BrokerRuntime,
    *,
    topic: str,
    token: str | None,
    kind: str | None = None,
) -> int:
    """Let any registered client of a topic read, and the cluster.

    The cluster may say for whom it calls, by a field `token`.

    Args:
        call: whose token counts.
        runtime: of this broker.
        topic: which topic it names.
        token: the field of the call; without it the bearer token counts.
        kind: `producer` or `consumer`; None for either, where it does not matter who may read.

    Returns:
        The client's id; 0 for the cluster itself.

    Raises:
        UnauthorizedException: there is no token, or it is of another topic or kind.
    """
    if is_cluster(call) and not token:
        return 0
    claims = _claims(call, runtime, topic=topic, token=token)
    if kind is None and settings.QUEUE.auth != guard.OFF:
        kind = CONSUMER  # where rights matter, none to produce lets anybody read
    if kind not in (None, claims.kind):
        raise UnauthorizedException(
            f"the token is of {claims.kind} {claims.client_id}, this call is for a {kind}"
        )
    return claims.client_id


def require_known_client(runtime: BrokerRuntime, token: str) -> ClientToken:
    """Return what a token says of a client that is still registered, as far as this broker knows.

    Raises:
        UnauthorizedException: it is not of this cluster, overdue, or of a client that was deleted.
        Forbidden: the right of whoever registered it was taken away.
    """
    claims = verified_client(runtime, token)
    if settings.QUEUE.auth != guard.OFF:
        guard.current().check_origin(claims)
    return claims


def require_right(
    call: Call, runtime: BrokerRuntime, *, right: str, topic: str, token: str | None
) -> None:
    """Let a registered client do what its token says nothing of, if whoever registered it may.

    Args:
        call: whose token counts.
        runtime: of this broker.
        right: what is needed besides the registration.
        topic: to which topic.
        token: the field of the call; without it the bearer token counts.

    Raises:
        Forbidden: whoever registered the client has no such right.
        QueueError: the token is not taken, or this broker cannot tell yet.
    """
    if settings.QUEUE.auth != guard.OFF:
        claims = require_known_client(runtime, token or bearer_token(call) or "")
        guard.current().require_of_origin(claims, right, topic)


def admit_entry(
    call: Call, runtime: BrokerRuntime, table: Table, replica: Replica, *, name: Name
) -> None:
    """Let a client use an entry of a partition's table, and count it for its address if new.

    Raises: what `ClientOrigins.admit` raises: as many as the address may make are there.
    """
    runtime.client_origins.admit(
        table,
        state_of(replica),
        replica.spec.group_id,
        name=name,
        address_of=partial(origin_of, call),
    )


def verified_client(runtime: BrokerRuntime, token: str) -> ClientToken:
    """Return what a token says of a client, whoever registered it.

    Raises:
        UnauthorizedException: it is not of this cluster, overdue, or of a client that was deleted.
    """
    now_ms = time.time_ns() // 1_000_000
    secret = settings.QUEUE.cluster_secret
    claims = verify_client(secret, token, now_ms=now_ms, grace_ms=GRACE_MS)
    if now_ms > claims.issued_ms + VALID_MS and runtime.hears_manager():
        verify_client(secret, token, now_ms=now_ms)  # and so refuse it
    if runtime.is_revoked(claims.kind, claims.client_id):
        raise UnauthorizedException(f"{claims.kind} {claims.client_id} was deleted")
    return claims


def _claims(call: Call, runtime: BrokerRuntime, *, topic: str, token: str | None) -> ClientToken:
    text = token or bearer_token(call)
    if not text:
        raise UnauthorizedException(
            "this call needs the token that a manager gave at registration, as field token or as"
            " Authorization: Bearer"
        )
    claims = require_known_client(runtime, text)
    if claims.topic != topic:
        raise UnauthorizedException(
            f"the token is for topic '{claims.topic}', not for {topic[:260]!r}"
        )
    return claims
