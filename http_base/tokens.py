"""Tokens: what a client shows to a broker, and what brokers and managers show to each other."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import NamedTuple

from django.core.signing import BadSignature, Signer

from myqueue.contract.errors import UnauthorizedException

VALID_MS = 30 * 24 * 3600 * 1000
"""How long a client's token is valid after it was issued."""
GRACE_MS = 7 * 24 * 3600 * 1000
"""How much longer a broker takes it while no manager can be reached."""
PRODUCER, CONSUMER = "producer", "consumer"

CLUSTER_TOKEN_LENGTH = 2 * hashlib.sha256().digest_size
"""Characters of the cluster's token; how many there are is no secret."""

_SALT = "queue.client"
_CACHED_TOKENS = 10_000
_MAX_TOKEN_LENGTH = 1_024


class ClientToken(NamedTuple):
    """Who a client is and what it may do: produce to or consume from one topic."""

    kind: str
    """`producer` or `consumer`."""
    client_id: int
    topic: str
    issued_ms: int
    """Milliseconds since 1970."""
    origin: str = ""
    """The API token or person that registered it, as `http_base.access.Holder` has it; empty where
    nobody had to say who registers."""


def sign_client(secret: str, token: ClientToken) -> str:
    """Return the text that `verify_client` accepts in a cluster with this secret."""
    fields = list(token) if token.origin else list(token[:-1])
    return _signer(secret).sign_object(fields)


def verify_client(secret: str, text: str, *, now_ms: int, grace_ms: int = 0) -> ClientToken:
    """Return what a token says.

    Args:
        secret: of the cluster.
        text: what the client sent.
        now_ms: milliseconds since 1970.
        grace_ms: how long overdue a token may be; `GRACE_MS` while no manager is reachable.

    Raises:
        UnauthorizedException: the token is not of this cluster, or overdue.
    """
    token = _unsign(secret, text) if len(text) <= _MAX_TOKEN_LENGTH else None
    if token is None:
        raise UnauthorizedException("the token is not valid in this cluster; register again")
    if now_ms > token.issued_ms + VALID_MS + grace_ms:
        raise UnauthorizedException("the token has expired; register again with it")
    return token


def cluster_token(secret: str) -> str:
    """Return the bearer token of internal calls."""
    return hmac.new(secret.encode(), b"queue.cluster", hashlib.sha256).hexdigest()


def secret_fingerprint(secret: str, cluster_id: str) -> str:
    """Return 64 hexadecimal digits that tell a cluster's secret from others, and not what it is."""
    return hmac.new(secret.encode(), f"queue.secret {cluster_id}".encode(), "sha256").hexdigest()


def bearer_of(authorization: str) -> str | None:
    """Return the token of a header `Bearer ...`, or None."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def is_cluster_token(secret: str, text: str) -> bool:
    """Tell whether `text` is the cluster's token, in constant time."""
    return bool(secret) and hmac.compare_digest(
        _cached_cluster_token(secret).encode(), text.encode("utf-8", "surrogatepass")
    )


_cached_cluster_token = lru_cache(maxsize=8)(cluster_token)


@lru_cache(maxsize=8)
def _signer(secret: str) -> Signer:
    return Signer(key=secret, salt=_SALT)


@lru_cache(maxsize=_CACHED_TOKENS)
def _unsign(secret: str, text: str) -> ClientToken | None:
    """Return the content of a token with a good signature; the time is checked elsewhere."""
    try:
        fields = _signer(secret).unsign_object(text)
    except (BadSignature, ValueError):
        return None
    match fields:
        case [
            ("producer" | "consumer") as kind,
            int(client_id),
            str(topic),
            int(issued_ms),
            *origin,
        ] if all(isinstance(one, str) for one in origin) and len(origin) <= 1:
            return ClientToken(kind, client_id, topic, issued_ms, *origin)
    return None
