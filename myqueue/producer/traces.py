"""The spans of a producer: one for each message that is made, one for each batch that is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myqueue.contract.tracing import LINKS_MAX, TraceContext, placed, trace_context

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from myqueue.contract.records import Record, Records
    from myqueue.contract.tracing import Tracing
    from myqueue.transport.rotation import TopicPartition

SYSTEM = {"messaging.system": "queuesite"}


class ProducerTraces:
    """Makes the spans of one producer."""

    def __init__(self, tracing: Tracing) -> None:
        """Make spans with `tracing`."""
        self._tracing = tracing

    def made(self, topic: str, record: Record) -> Record:
        """Return a message that says where it belongs: to a span of its own.

        One that says it already belongs there; one without room for headers more stays as it is.
        """
        if trace_context(record.headers) is not None:
            return record
        attributes = {
            **SYSTEM,
            "messaging.destination.name": topic,
            "messaging.operation.type": "create",
        }
        span = self._tracing.begin(f"create {topic}", "PRODUCER", attributes)
        span.end()
        place = self._tracing.place_of(span)
        return record if place is None else placed(record, place)

    def begin(self, where: TopicPartition, records: Records) -> Span:
        """Begin the span of a batch: below its first message's, linked to those of the others."""
        places = [place for one in records if (place := trace_context(one.headers)) is not None]
        attributes: dict[str, str | int] = {
            **SYSTEM,
            "messaging.destination.name": where[0],
            "messaging.destination.partition.id": str(where[1]),
            "messaging.operation.type": "send",
            "messaging.batch.message_count": len(records),
        }
        parent = places[0] if places else None
        links = places[1 : LINKS_MAX + 1]
        return self._tracing.begin(
            f"send {where[0]}", "CLIENT", attributes, parent=parent, links=links
        )

    def place_of(self, span: Span) -> TraceContext | None:
        """Return where the requests of a batch belong."""
        return self._tracing.place_of(span)

    def end(self, span: Span, error: BaseException | None = None) -> None:
        """End the span of a batch, with the error that it failed with."""
        if error is not None:
            self._tracing.fail(span, error)
        span.end()
