from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract import inputs as protocol
from myqueue.contract.errors import InvalidRequest, InvalidTopicName, MessageTooLarge, QueueError
from myqueue.contract.inputs import (
    Consume,
    ConsumerRegister,
    Fetch,
    Health,
    Produce,
    ProduceBatch,
    ProducerRegister,
    Size,
    TopicCreate,
    TopicUpdate,
    check_range,
    check_request_id,
    check_topic_name,
    read_input,
    records_of,
)
from myqueue.contract.records import Record


@pytest.mark.parametrize("name", ["topic", "topic_name", "name"])
@pytest.mark.parametrize("count", ["number_of_partitions", "partitions", "part"])
def test_every_alias_of_a_topic_is_understood(name: str, count: str) -> None:
    made = read_input(TopicCreate, {name: "logs", count: 4})
    assert (made.topic, made.number_of_partitions) == ("logs", 4)


@pytest.mark.parametrize("partition", ["partition", "partition_id", "partition_index", "part"])
@pytest.mark.parametrize("message", ["message", "log_message"])
def test_every_alias_of_a_produce_call_is_understood(partition: str, message: str) -> None:
    made = read_input(Produce, {"topic": "logs", "producer_id": 1, partition: 2, message: "x"})
    assert (made.partition, made.message) == (2, "x")


@pytest.mark.parametrize("address", ["broker_address", "broker_addr", "address"])
def test_every_alias_of_an_address_is_understood(address: str) -> None:
    assert read_input(protocol.BrokerCreate, {address: "http://b"}).broker_address == "http://b"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "topic"),
        ({"topic": "a", "name": "b"}, "topic"),
        ({"topic": "a", "part": 1, "partitions": 2}, "number_of_partitions"),
        ({"topic": "a", "part": 1, "partitions": True}, "number_of_partitions"),
        ({"topic": 5}, "topic"),
        ({"topic": None}, "topic"),
        ({"topic": "a", "part": "3"}, "number_of_partitions"),
        ({"topic": "a", "part": 3.5}, "number_of_partitions"),
        ({"topic": "a", "part": 10**30}, "number_of_partitions"),
        ({"topic": "a", "colour": 1}, "colour"),
    ],
)
def test_what_does_not_fit_names_its_field(body: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_input(TopicCreate, body)
    assert caught.value.details["field"] == field
    assert field in caught.value.message


def test_the_same_value_under_two_names_is_no_contradiction() -> None:
    assert read_input(TopicCreate, {"topic": "a", "name": "a"}).topic == "a"


@pytest.mark.parametrize("body", [[], "x", 5, True])
def test_a_body_is_an_object(body: object) -> None:
    with pytest.raises(InvalidRequest):
        read_input(TopicCreate, body)


def test_names_of_fields_are_texts() -> None:
    with pytest.raises(InvalidRequest):
        read_input(TopicCreate, {5: "x"})


def test_the_query_wins_over_the_body() -> None:
    query = {"topic": "b", "consumer_id": "2", "wait_ms": "10", "max_messages": "3"}
    made = read_input(Consume, {"topic": "a", "consumer_id": 1}, query)
    assert (made.topic, made.consumer_id, made.wait_ms, made.max_messages) == ("b", 2, 10, 3)


def test_digits_in_a_query_are_the_integer_of_a_body() -> None:
    base = {"topic": "a", "consumer_id": 1}
    for text, key in (("7", 7), ("-7", -7), ("7a", "7a"), ("", ""), ("9" * 19, "9" * 19)):
        assert read_input(Consume, base, {"partition_key": text}).partition_key == key
    assert read_input(Health, None, {"type": "0", "key": "17"}) == Health(type=0, key=17)
    assert read_input(Health, None, {"type": "2", "key": "http://b"}).key == "http://b"


@pytest.mark.parametrize("name", ["producer_id", "consumer_id"])
def test_an_id_may_be_a_text_of_digits(name: str) -> None:
    cls: Any = ProducerRegister if name == "producer_id" else ConsumerRegister
    for text in ("1", 1):
        assert getattr(read_input(cls, {"topic": "a", name: text}), name) == 1
    assert getattr(read_input(cls, {"topic": "a"}, {name: "1"}), name) == 1
    largest = (1 << 63) - 1
    assert getattr(read_input(cls, {"topic": "a", name: str(largest)}), name) == largest
    for wrong in (True, 1.0, "1.0", " 1", "+1", "", "x", str(largest + 1), "true", [1]):
        with pytest.raises(InvalidRequest) as caught:
            read_input(cls, {"topic": "a", name: wrong})
        assert caught.value.details["field"] == name
        if isinstance(wrong, str):
            with pytest.raises(InvalidRequest):
                read_input(cls, {"topic": "a"}, {name: wrong})


def test_the_id_of_a_heartbeat_may_be_a_text_too() -> None:
    assert read_input(Health, {"type": 0, "key": "17"}) == Health(type=0, key=17)
    assert read_input(Health, {"type": 2, "key": "http://b"}).key == "http://b"
    for wrong in (True, 1.0):
        with pytest.raises(InvalidRequest):
            read_input(Health, {"type": 0, "key": wrong})


def test_a_partition_key_of_digits_stays_a_text_in_a_body() -> None:
    call = {"topic": "a", "consumer_id": "1", "partition_key": "7"}
    assert read_input(Consume, call).partition_key == "7"


def test_a_topic_of_digits_stays_a_text_in_a_query() -> None:
    assert read_input(Size, None, {"topic": "17", "consumer_id": "1"}).topic == "17"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"partition": "x"}, "partition"),
        ({"partition": "1.5"}, "partition"),
        ({"offset": "9" * 30}, "offset"),
        ({"colour": "1"}, "colour"),
        ({"partition": "1", "part": "2"}, "partition"),
    ],
)
def test_a_malformed_query_names_its_field(query: dict[str, str], field: str) -> None:
    base = {"topic": "a", "partition": "0", "offset": "0"}
    if "part" in query:
        base = {"topic": "a", "offset": "0"}
    with pytest.raises(InvalidRequest) as caught:
        read_input(Fetch, None, {**base, **query})
    assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    "changed",
    [
        {"producer_id": 1 << 63},
        {"producer_epoch": -1},
        {"producer_epoch": 1 << 31},
        {"base_sequence": -1},
        {"base_sequence": 1 << 63},
        {"timestamp": -1},
        {"timestamp": 1 << 62},
        {"partition": 1 << 63},
        {"partition_key": 1 << 63},
    ],
)
def test_numbers_that_nothing_holds_are_refused(changed: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest):
        read_input(Produce, {"topic": "a", "producer_id": 1, "message": "x", **changed})


def test_unknown_ids_are_well_formed() -> None:
    for number in (-1, 0, (1 << 63) - 1):
        assert read_input(Size, {"topic": "a", "consumer_id": number}).consumer_id == number


def test_a_retention_of_null_is_not_an_absent_one() -> None:
    assert read_input(TopicUpdate, {"retention_ms": None}).retention_ms is None
    assert read_input(TopicUpdate, {}).retention_ms is protocol.UNSET


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.booleans()))
def test_no_body_is_more_than_invalid(body: dict[str, object]) -> None:
    for cls in (Produce, Consume, ProduceBatch, TopicCreate, Health):
        try:
            read_input(cls, body)
        except InvalidRequest:
            continue


@given(st.dictionaries(st.sampled_from(["topic", "partition", "offset", "wait_ms"]), st.text()))
def test_no_query_is_more_than_invalid(query: dict[str, str]) -> None:
    try:
        made = read_input(Fetch, None, query)
    except InvalidRequest:
        return
    assert made.topic == query["topic"]


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 249, "..."])
def test_topic_names(name: str) -> None:
    assert check_topic_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 250, "é", "a\n", "a\0"])
def test_other_topic_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidTopicName):
        check_topic_name(name)


def test_ranges_and_request_ids() -> None:
    assert check_range("wait_ms", 5, 0, 5) == 5
    with pytest.raises(InvalidRequest, match="wait_ms"):
        check_range("wait_ms", 6, 0, 5)
    assert check_request_id(None) is None
    assert check_request_id("é" * 64) == "é" * 64
    for wrong in ("", "x" * 65, "\ud800"):
        with pytest.raises(InvalidRequest):
            check_request_id(wrong)


def test_messages_of_a_produce_call() -> None:
    def messages(**fields: object) -> list[Record]:
        return records_of(read_input(Produce, {"topic": "a", "producer_id": 1, **fields}), 9)

    assert messages(message="x", key="k", headers={"h": "v"}) == [Record("x", "k", {"h": "v"}, 9)]
    assert messages(messages=["x", b"\xff"], timestamp=5) == [
        Record("x", timestamp=5),
        Record(b"\xff", timestamp=5),
    ]
    items = [{"message": "x", "key": "k"}, {"log_message": "y", "headers": {"h": "v"}}]
    assert messages(messages=items) == [Record("x", "k", None, 9), Record("y", None, {"h": "v"}, 9)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message": "x", "messages": ["x"]},
        {"message": None},
        {"message": 5},
        {"message": {"message": "x"}},
        {"messages": []},
        {"messages": ["x"] * 10_001},
        {"messages": [5]},
        {"messages": [{"key": "k"}]},
        {"messages": [{"message": "x", "colour": 1}]},
        {"messages": [{"message": "x", 5: 1}]},
        {"messages": ["x"], "key": "k"},
        {"messages": ["x"], "headers": {}},
        {"message": "x", "headers": {"h": None}},
        {"message": "\ud800"},
    ],
)
def test_messages_that_do_not_fit_are_refused(fields: dict[str, object]) -> None:
    produce = read_input(Produce, {"topic": "a", "producer_id": 1, **fields})
    with pytest.raises((InvalidRequest, MessageTooLarge)) as caught:
        records_of(produce, 0)
    assert "field" in caught.value.details
    assert issubclass(MessageTooLarge, QueueError)
