"""Calls in the name of the cluster need a certificate, those of clients do not."""

from __future__ import annotations

import pytest

from http_base.certificates import CERTIFICATE, CertificateRule
from http_base.tokens import cluster_token

SECRET = "a secret of the tests"
OF_CLUSTER = f"Bearer {cluster_token(SECRET)}"


async def status_of(authorization: str | None, *, shown: bool | None) -> int:
    events = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event):
        events.append(event)

    scope = {"type": "http", "headers": [(b"host", b"a")]}
    if authorization is not None:
        scope["headers"].append((b"authorization", authorization.encode()))
    if shown is not None:
        scope[CERTIFICATE] = shown
    await CertificateRule(app, SECRET)(scope, None, send)
    return events[0]["status"]


@pytest.mark.parametrize(
    ("authorization", "shown", "status"),
    [
        (OF_CLUSTER, True, 200),
        (OF_CLUSTER, False, 401),
        (OF_CLUSTER, None, 401),
        (OF_CLUSTER.replace("Bearer", "bearer"), False, 401),
        ("Bearer of-a-client", False, 200),
        (None, False, 200),
    ],
)
async def test_the_token_of_the_cluster_alone_needs_a_certificate(authorization, shown, status):
    assert await status_of(authorization, shown=shown) == status
