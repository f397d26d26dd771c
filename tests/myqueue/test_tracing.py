from __future__ import annotations

import pytest
from opentelemetry.trace import get_current_span as current_span

from myqueue import Consumer, Producer, Worker, tracing
from myqueue.contract.tracing import TraceContext
from tests.myqueue.recorded import PARENT


def test_one_trace_goes_from_the_producer_to_the_work(spans, logs):
    with Producer("logs", logs) as producer:
        producer.enqueue("logs", "one")
    with Consumer("logs", logs) as consumer:
        (message,) = consumer.poll(timeout=30)
        with pytest.raises(ValueError, match="broken"), tracing.processing(message):
            raise ValueError("broken")
    (create,), (send,) = spans.named("create logs"), spans.named("send logs")
    (process,) = spans.named("process logs")
    assert {one.context.trace_id for one in (create, send, process)} == {create.context.trace_id}
    assert send.parent.span_id == process.parent.span_id == create.context.span_id
    assert [one.context.span_id for one in process.links] == [create.context.span_id]
    assert process.attributes["messaging.message.id"] == "logs/0/0"
    assert [one.name for one in process.events] == ["exception"]
    assert process.status.status_code.name == "ERROR"
    assert tracing.place_of(message).traceparent.split("-")[2] == f"{create.context.span_id:016x}"


def test_handler_of_a_worker_is_called_inside_a_span(spans, logs):
    with Producer("logs", logs) as producer:
        producer.enqueue("logs", "one")
    inside = []
    with Worker("logs", logs, "g") as worker:

        @worker.handler(retry_delay=0.01)
        def handle(delivery):
            inside.append(current_span().get_span_context().span_id)
            if delivery.delivery_count == 1:
                raise ValueError("not yet")
            worker.finish()

        worker.run()
    (create,), processed = spans.named("create logs"), spans.named("process logs")
    assert [one.context.span_id for one in processed] == inside
    assert {one.context.trace_id for one in processed} == {create.context.trace_id}
    assert [one.status.status_code.name for one in processed] == ["ERROR", "UNSET"]


def test_without_anybody_who_records_nothing_is_done(logs):
    with Producer("logs", logs) as producer:
        producer.enqueue("logs", "one", headers={"traceparent": PARENT})
        producer.enqueue("logs", "two")
    with Consumer("logs", logs) as consumer:
        one, two = consumer.poll(timeout=30)
        with tracing.processing(one) as span:
            assert span is None
    assert (one.headers, two.headers) == ({"traceparent": PARENT}, None)
    assert tracing.place_of(one) == TraceContext(PARENT)
