from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract import inputs as protocol
from myqueue.contract.errors import InvalidRequest, InvalidTopicName, MessageTooLarge, QueueError
from myqueue.contract.group_inputs import Settle
from myqueue.contract.inputs import (
    Consume,
    ConsumerRegister,
    CursorReset,
    Fetch,
    Health,
    Produce,
    ProduceBatch,
    ProducerRegister,
    Size,
    TopicCreate,
    TopicUpdate,
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


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (Consume, {"wait_ms": 30_001}, "wait_ms must be 0 to 30000, not 30001"),
        (Consume, {"wait_ms": 1 << 70}, f"wait_ms must be 0 to 30000, not {1 << 70}"),
        (Consume, {"timeout_ms": 0}, "timeout_ms must be 1 to 60000, not 0"),
        (Consume, {"max_messages": 10_001}, "max_messages must be 1 to 10000, not 10001"),
        (Consume, {"max_bytes": 0}, "max_bytes must be 1 to 8388608, not 0"),
        (Consume, {"request_id": ""}, "request_id has 1 to 64 characters, not 0"),
        (Consume, {"request_id": "x" * 65}, "request_id has 1 to 64 characters, not 65"),
        (Consume, {"request_id": "a\ud800"}, "request_id has a lone surrogate at character 1"),
        (ConsumerRegister, {"start": "end"}, "start must be earliest or latest, not 'end'"),
    ],
)
def test_what_is_out_of_bounds_is_named_with_its_bounds(
    cls: type[msgspec.Struct], changes: dict[str, object], message: str
) -> None:
    [field] = changes
    base = {"topic": "a"} if cls is ConsumerRegister else {"topic": "a", "consumer_id": 1}
    with pytest.raises(InvalidRequest) as caught:
        read_input(cls, base | changes)
    assert (caught.value.message, caught.value.details["field"]) == (message, field)


def test_a_query_is_held_to_the_same_bounds() -> None:
    with pytest.raises(InvalidRequest, match=r"^wait_ms must be 0 to 30000, not -1$"):
        read_input(Consume, {"topic": "a", "consumer_id": 1}, {"wait_ms": "-1"})
    with pytest.raises(InvalidRequest, match=r"^start must be earliest or latest, not 'end'$"):
        read_input(ConsumerRegister, {"topic": "a"}, {"start": "end"})


def test_a_list_is_held_to_its_length() -> None:
    fields = {"topic": "logs", "partition": 0, "group": "g", "receipts": ["1.1.1"] * 1_001}
    with pytest.raises(InvalidRequest, match=r"^receipts has 1 to 1000 items, not 1001$"):
        read_input(Settle, fields)


def test_a_request_id_counts_characters() -> None:
    call = {"topic": "a", "consumer_id": 1, "request_id": "é" * 64}
    assert read_input(Consume, call).request_id == "é" * 64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "wait must be 1 to 60000, not 0"),
        (60_001, "wait must be 1 to 60000, not 60001"),
        (True, "wait: Expected `int`, got `bool`, not True"),
        ("5", "wait: Expected `int`, got `str`, not '5'"),
    ],
)
def test_arguments_of_programs_are_held_to_the_same_types(value: object, message: str) -> None:
    assert protocol.checked("wait", 5, protocol.TimeoutMs) == 5
    with pytest.raises(InvalidRequest) as caught:
        protocol.checked("wait", value, protocol.TimeoutMs)
    assert (caught.value.message, caught.value.details["field"]) == (message, "wait")


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (Produce, {"producer_id": 1, "message": "x", "partition": 1, "partition_key": 2}),
        (Produce, {"producer_id": 1, "message": "x", "base_sequence": 0}),
        (Produce, {"producer_id": 1, "message": "x", "producer_epoch": 0}),
        (Consume, {"consumer_id": 1, "partition": 1, "partition_key": "k"}),
        (Consume, {"consumer_id": 1, "partition_key": "\ud800"}),
        (CursorReset, {"consumer_id": 1, "partition": 0}),
        (CursorReset, {"consumer_id": 1, "partition": 0, "offset": 1, "timestamp": 1}),
    ],
)
def test_fields_that_contradict_each_other_are_refused(
    cls: type[msgspec.Struct], fields: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_input(cls, {"topic": "a", **fields})
    assert "field" in caught.value.details


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


@pytest.mark.parametrize("name", ["$0", " - at `$.topic`", "field `x`", "$.topic"])
def test_an_unknown_field_of_any_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        read_input(Consume, {name: 1})
    with pytest.raises(InvalidRequest, match="start must be earliest or latest"):
        read_input(ConsumerRegister, {"topic": "a", "start": name})


def test_threads_may_read_a_type_for_the_first_time_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.myqueue.contract.first_reads"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr
