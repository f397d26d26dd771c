"""Checks that a call comes from a client registered for its topic, by the token it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base import guard
from http_base.tokens import verify_client
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from http_base.tokens import ClientToken
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind


def check_token(
    runtime: ManagerRuntime, kind: ClientKind, client_id: int, *, topic: str, token: str | None
) -> None:
    """Check a token, if one was given: calls to a manager may come with the client's id alone.

    Raises:
        UnauthorizedException: the token is another client's, or has run out.
    """
    if token is None:
        return
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if (said.kind, said.client_id, said.topic) != (kind, client_id, topic):
        raise UnauthorizedException(
            f"the token is not that of {kind} {client_id} of topic {topic[:260]!r}", field="token"
        )
    guard.check_origin(said)


def require_known(
    runtime: ManagerRuntime, wanted: ClientKind | None, topic: str, token: str
) -> None:
    """Check a token before anything is told of a topic, where it matters who calls.

    Raises:
        QueueError: what `admit_by_token` raises for the token.
    """
    if guard.is_on():
        _claims(runtime, wanted, topic, token)


async def admit_by_token(
    runtime: ManagerRuntime, wanted: ClientKind | None, topic: str, token: str
) -> None:
    """Admit a registered client of a topic by its token alone, and count a heartbeat of it.

    Args:
        runtime: of this manager.
        wanted: kind of client; None for any, where it does not matter who may read.
        topic: that it must be registered for.
        token: that the call carries.

    Raises:
        UnauthorizedException: the token is of another topic or kind, or the client was removed.
    """
    said = _claims(runtime, wanted, topic, token)
    kind: ClientKind = "producer" if said.kind == "producer" else "consumer"
    await runtime.clients.admit(kind, said.client_id, topic)


def _claims(
    runtime: ManagerRuntime, wanted: ClientKind | None, topic: str, token: str
) -> ClientToken:
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if guard.is_on():
        guard.check_origin(said)
        wanted = wanted or "consumer"  # where rights matter, none to produce lets anybody read
    if said.topic != topic or wanted not in (None, said.kind):
        raise UnauthorizedException(
            f"the token is that of {said.kind} {said.client_id} of topic {said.topic!r}; this call"
            f" is for a {wanted or 'client'} of {topic[:260]!r}",
            field="token",
        )
    return said
