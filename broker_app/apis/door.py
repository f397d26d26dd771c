"""Who sends a long body to a broker, judged by what comes before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker_app.access import require_known_client
from broker_app.apis.produce import admit_batch
from broker_app.runtime import current
from http_base.calls import bearer_token, is_cluster, read_call, read_query, require_cluster
from myqueue.contract.inputs import BATCH, ProduceBatch

if TYPE_CHECKING:
    from collections.abc import Hashable

    from http_base.calls import DirectCall

FOR_CLIENTS = frozenset(
    {
        "/producer/produce",
        "/consumer/consume",
        "/fetch",
        "/cursors/reset",
        "/messages/receive",
        "/messages/ack",
        "/messages/nack",
        "/messages/extend",
        "/offsets/commit",
    }
)
"""Where clients send bodies; anywhere else the cluster alone does."""


async def door(path: str, call: DirectCall) -> Hashable:
    """Check a call without its body, and return whose the body is; see `http_base.hotpaths.Door`.

    A record batch comes with all its fields in the query, so that everything is checked. JSON may
    carry its token inside: then it is of nobody until it is read.

    Raises:
        QueueError: the call would be refused for its sender or its partition.
    """
    if path not in FOR_CLIENTS:
        require_cluster(call)
    is_batch = path == "/producer/produce" and call.content_type == BATCH
    if is_batch:
        admit_batch(call, read_call(call, ProduceBatch))
    if is_cluster(call):
        return None
    token = read_query(call.query_string).get("token") or bearer_token(call)
    if token is None:
        return ""
    claims = require_known_client(current(), token)
    return claims.kind, claims.client_id
