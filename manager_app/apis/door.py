"""Who sends a long body to a manager, judged by what comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from http_base.calls import bearer_token, is_cluster, read_call, read_query
from http_base.tokens import verify_client
from manager_app.proxy.admission import check_token
from manager_app.runtime import current
from myqueue.contract.inputs import BATCH, ProduceBatch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from http_base.calls import DirectCall


async def door(path: str, call: DirectCall) -> Hashable:
    """Check a call without its body, and return whose the body is; see `http_base.hotpaths.Door`.

    A record batch comes with all its fields in the query, so that its producer is checked. Other
    calls may come with a client's id alone, or with a token inside: they are of nobody until they
    are read.

    Raises:
        QueueError: the producer is not registered, or a token is not good.
    """
    token = read_query(call.query_string).get("token") or bearer_token(call)
    if path == "/producer/produce" and call.content_type == BATCH:
        runtime, asked = current(), read_call(call, ProduceBatch)
        if not is_cluster(call):
            check_token(runtime, "producer", asked.producer_id, topic=asked.topic, token=token)
        await runtime.clients.admit("producer", asked.producer_id, asked.topic, is_heartbeat=False)
    if is_cluster(call):
        return None
    if token is None:
        return ""
    claims = verify_client(current().secret, token, now_ms=current().now_ms)
    return claims.kind, claims.client_id
