from __future__ import annotations

import msgspec

from myqueue.consumer.pop_calls import look_request, pop_call, popped_message, size_call
from myqueue.consumer.pop_requests import Pop
from myqueue.contract.inputs import Consume, ConsumeSeveral, Size, read_input
from myqueue.results import Message, Registration

ME = Registration(7, "secret")
WHERE = ("logs", 2)


def test_every_try_of_a_pop_is_the_same_wherever_it_goes() -> None:
    call = pop_call(WHERE, Pop("abc", 5), wait_ms=100, timeout_ms=500)
    assert call.direct(ME) == call.through_manager(ME)
    asked = read_input(Consume, msgspec.msgpack.decode(call.direct(ME).body))
    assert (asked.partition, asked.request_id, asked.max_messages) == (2, "abc", 5)
    assert (asked.consumer_id, asked.wait_ms) == (7, 100)


def test_a_size_request_names_the_consumer() -> None:
    request = size_call(WHERE).direct(ME)
    query = {k: str(v) for k, v in (request.query or {}).items()}
    asked = read_input(Size, None, query)
    assert (asked.topic, asked.partition, asked.consumer_id, asked.wait_ms) == (*WHERE, 7, 0)


def test_a_look_pops_nothing_and_names_the_consumer_of_each_topic() -> None:
    registrations = {"logs": ME, "other": Registration(8, "another")}
    request = look_request([WHERE, ("other", 0)], registrations, wait_ms=50)
    asked = read_input(ConsumeSeveral, msgspec.msgpack.decode(request.body))
    named = [(one.topic, one.partition, one.consumer_id) for one in asked.partitions]
    assert named == [(*WHERE, 7), ("other", 0, 8)]
    assert (asked.max_messages, asked.wait_ms) == (0, 50)
    assert asked.tokens == {"logs": "secret", "other": "another"}


def test_a_popped_message_is_read_as_it_was_sent() -> None:
    item = {"message": b"\xff", "key": "k", "headers": None, "timestamp": 9, "offset": 4}
    assert popped_message(item, WHERE) == Message("logs", 2, 4, b"\xff", "k", None, 9)
    assert popped_message({"message": "x", "offset": 0}, WHERE) == Message("logs", 2, 0, "x")
