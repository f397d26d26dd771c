"""Requests that belong to a trace: what they say of it, and their spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from http_base.requests import client_address_of
from myqueue.contract import tracing as contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

    from http_base.request_marks import RequestMark
    from myqueue.contract.tracing import Tracing

TRACEPARENT = contract.TRACEPARENT.encode()
TRACESTATE = contract.TRACESTATE.encode()
"""The headers' names as ASGI has them."""
PATH_MAX = 200
"""Characters of a path in a span."""


def begin_trace(
    mark: RequestMark,
    scope: Mapping[str, Any],
    headers: Mapping[bytes, bytes],
    tracing: Tracing | None,
) -> None:
    """Note where a request belongs, and begin its span where spans are recorded.

    Args:
        mark: of the request.
        scope: of ASGI.
        headers: those of the request, `traceparent` among them.
        tracing: makes spans; None: nobody records any.
    """
    said = {
        contract.TRACEPARENT: headers[TRACEPARENT],
        contract.TRACESTATE: headers.get(TRACESTATE, b""),
    }
    place = mark.place = contract.trace_context(said)
    if place is None or tracing is None:
        return
    method, path = scope["method"], scope["path"][:PATH_MAX]
    attributes = {
        "http.request.method": method,
        "url.path": path,
        "client.address": client_address_of(scope),
        "queuesite.request_id": mark.id,
    }
    mark.span = tracing.begin(f"{method} {path}", "SERVER", attributes, parent=place)
    mark.place = tracing.place_of(mark.span) or place


def end_trace(mark: RequestMark, span: Span) -> None:
    """End the span of a request that was answered."""
    if mark.status:
        span.set_attribute("http.response.status_code", mark.status)
    span.end()
