from __future__ import annotations

import pytest

from myqueue import Client, Producer, Worker, tracing
from myqueue.contract.errors import UnauthorizedException
from myqueue.contract.records import Record
from myqueue.contract.tracing import TraceContext
from tests.myqueue.recorded import PARENT


def test_a_batch_is_linked_to_its_other_messages(spans, logs):
    with Producer("logs", logs) as producer:
        producer.produce_many("logs", [Record(text, None, None, 0) for text in "abc"])
    assert len(spans.named("create logs")) == 3
    (send,) = spans.named("send logs")
    ids = [one.context.span_id for one in spans.named("create logs")]
    assert [send.parent.span_id, *(one.context.span_id for one in send.links)] == ids
    assert send.attributes["messaging.batch.message_count"] == 3


def test_a_message_that_says_where_it_belongs_keeps_that(spans, logs):
    with Producer("logs", logs) as producer:
        producer.enqueue("logs", "one", headers={"traceparent": PARENT.encode(), "a": "b"})
    with Worker("logs", logs, group="g") as worker:
        (delivery,) = worker.receive(1, timeout=30)
    assert delivery.headers == {"traceparent": PARENT.encode(), "a": "b"}
    assert tracing.place_of(delivery) == TraceContext(PARENT)
    assert spans.named("create logs") == []
    assert f"{spans.named('send logs')[0].parent.span_id:016x}" == PARENT.split("-")[2]


def test_a_batch_that_fails_says_so(spans, logs):
    with Producer("logs", logs) as producer:
        producer.enqueue("logs", "one")
        with pytest.raises(UnauthorizedException):
            producer.enqueue("nowhere", "one")
        with Client(logs) as client:
            client.delete_topic("logs")
        future = producer.send("logs", "two")
        assert future.exception(60) is not None
    send = spans.named("send logs")[-1]
    assert send.status.status_code.name == "ERROR"
