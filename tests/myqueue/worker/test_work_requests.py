from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest, InvalidTopicName
from myqueue.contract.group_inputs import Receive, ReceiveSeveral, Settle
from myqueue.contract.inputs import read_input
from myqueue.results import Delivery, Registration
from myqueue.testing.state import decoded
from myqueue.worker.work_requests import (
    NACK,
    WorkOptions,
    look_request,
    receive_call,
    received_delivery,
    settle_call,
    work_ms,
)

WHERE = ("logs", 2)
ME = Registration(7, "secret")


def test_a_receive_says_everything_that_the_group_needs() -> None:
    options = WorkOptions(group="g", visibility_ms=5, delivery_limit=2, dead_letter_topic="d")
    call = receive_call(WHERE, options, max_messages=3, start="latest", timeout_ms=4)
    request = call.direct(ME)
    assert (request.method, request.path, request.token) == ("POST", "/messages/receive", "secret")
    assert call.through_manager(ME) == request
    assert read_input(Receive, decoded(request)) == Receive(
        topic="logs",
        partition=2,
        group="g",
        max_messages=3,
        visibility_ms=5,
        delivery_limit=2,
        dead_letter_topic="d",
        start="latest",
        timeout_ms=4,
        token="secret",
    )


def test_a_look_names_each_partition_and_the_token_of_each_topic() -> None:
    registrations = {"logs": ME, "other": ME._replace(token="")}
    places = [WHERE, ("other", 0)]
    request = look_request(places, registrations, group="g", wait_ms=9)
    asked = read_input(ReceiveSeveral, decoded(request))
    assert [(one.topic, one.partition) for one in asked.partitions] == places
    assert (asked.group, asked.wait_ms, asked.tokens) == ("g", 9, {"logs": "secret"})


def test_a_nack_says_which_and_when() -> None:
    call = settle_call(NACK, WHERE, "g", ["1.2.3"], timeout_ms=4, delay_ms=0)
    body = read_input(Settle, decoded(call.direct(ME)))
    assert (body.receipts, body.delay_ms, body.visibility_ms) == (["1.2.3"], 0, None)


def test_a_message_of_an_answer_becomes_a_delivery() -> None:
    item = {"offset": 5, "message": b"x", "timestamp": 9, "receipt": "1.5.2", "delivery_count": 2}
    assert received_delivery(item, WHERE) == Delivery("logs", 2, 5, b"x", None, None, 9, "1.5.2", 2)


def test_times_of_calls_have_limits() -> None:
    assert work_ms("delay", 0.25) == 250
    for seconds in (-0.1, 43_201, float("nan")):
        with pytest.raises(InvalidRequest, match="delay"):
            work_ms("delay", seconds)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(InvalidTopicName):
        WorkOptions(group="g", dead_letter_topic="no name")
    with pytest.raises(InvalidRequest, match="start"):
        WorkOptions(group="g", start="now")
