"""Who may call: what a token says, against the client and the topic of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.tokens import verify_client
from myqueue.contract.errors import UnauthorizedException

if TYPE_CHECKING:
    from manager_app.runtime import ManagerRuntime
    from manager_app.selectors import ClientKind


def check_token(
    runtime: ManagerRuntime, kind: ClientKind, client_id: int, *, topic: str, token: str | None
) -> None:
    """Check a token where one was given; on a manager the id alone is enough.

    Raises:
        UnauthorizedException: the token is not this client's.
    """
    if token is None:
        return
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if (said.kind, said.client_id, said.topic) != (kind, client_id, topic):
        raise UnauthorizedException(
            f"the token is not that of {kind} {client_id} of topic {topic[:260]!r}", field="token"
        )


async def admit_by_token(
    runtime: ManagerRuntime, wanted: ClientKind | None, topic: str, token: str
) -> None:
    """Let a registered client of a topic pass; this is a sign of life of it.

    Args:
        runtime: of this manager.
        wanted: kind of client; None for any.
        topic: that it must be registered for.
        token: what it shows.

    Raises:
        UnauthorizedException: the token is of another topic or kind, or the client is gone.
    """
    said = verify_client(runtime.secret, token, now_ms=runtime.now_ms)
    if said.topic != topic or wanted not in (None, said.kind):
        raise UnauthorizedException(
            f"the token is that of {said.kind} {said.client_id} of topic {said.topic!r}; this call"
            f" is for a {wanted or 'client'} of {topic[:260]!r}",
            field="token",
        )
    kind: ClientKind = "producer" if said.kind == "producer" else "consumer"
    await runtime.clients.admit(kind, said.client_id, topic)
