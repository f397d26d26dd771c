"""Traces of what is done with messages; see the how-to page "Trace messages".

from myqueue import tracing

for message in consumer:
with tracing.processing(message):
handle(message)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from myqueue.contract.tracing import TraceContext, trace_context, tracing_of, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from myqueue.results import Message

__all__ = ["TraceContext", "context_of", "place_at", "place_of", "processing", "use"]

SERVICE = "myqueue"


def place_of(message: Message) -> TraceContext | None:
    """Return where a message belongs, as `traceparent` and `tracestate`; None when it says nothing.

    No package is needed for it.
    """
    return trace_context(message.headers)


def context_of(message: Message) -> Context | None:
    """Return where a message belongs as a context of OpenTelemetry; None when it says nothing.

    Spans begun with it as `context=` belong to the trace of the message's producer.
    """
    place, tracing = place_of(message), tracing_of(SERVICE)
    return None if place is None or tracing is None else tracing.context(place)


def place_at(span: Span | None, message: Message) -> TraceContext | None:
    """Return what a program that is started for a message belongs to.

    Args:
        span: of `processing`.
        message: where it belongs instead, without a span.
    """
    tracing = tracing_of(SERVICE)
    return place_of(message) if span is None or tracing is None else tracing.place_of(span)


@contextmanager
def processing(message: Message) -> Iterator[Span | None]:
    """Enter a span about the work on a message, which ends with it and notes what it raises.

    It belongs to the trace of the message's producer and is linked to the message; it is the
    current span inside, so that what the work begins belongs to it. Where nobody records spans it
    is None, and nothing happens.

    Args:
        message: of a consumer, or the delivery of a worker.
    """
    tracing = tracing_of(SERVICE)
    if tracing is None:
        yield None
        return
    place = place_of(message)
    attributes = {
        "messaging.system": "queuesite",
        "messaging.destination.name": message.topic,
        "messaging.destination.partition.id": str(message.partition),
        "messaging.message.id": f"{message.topic}/{message.partition}/{message.offset}",
        "messaging.operation.type": "process",
    }
    links = () if place is None else (place,)
    span = tracing.begin(
        f"process {message.topic}", "CONSUMER", attributes, parent=place, links=links
    )
    with tracing.make_current(span):
        yield span
