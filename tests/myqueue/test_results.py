from __future__ import annotations

import msgspec
import pytest

from myqueue.results import Delivered, DeliveredBatch, Delivery, Message


def test_a_message_shows_as_its_text() -> None:
    assert str(Message("a", 0, 0, "héllo")) == "héllo"
    assert Message("a", 0, 0, b"h\xc3\xa9").text == "hé"
    assert Message("a", 0, 0, b"\xff").text == "\N{REPLACEMENT CHARACTER}"


def test_acknowledgements_unpack() -> None:
    partition, offset = Delivered(1, 5)
    assert (partition, offset) == (1, 5)
    assert list(DeliveredBatch(1, 5, 3).offsets) == [5, 6, 7]


class Order(msgspec.Struct):
    number: int


def test_a_message_is_read_as_json_or_messagepack() -> None:
    for value in ('{"number": 1}', b'{"number": 1}'):
        assert Message("a", 0, 0, value).json() == {"number": 1}
        assert Message("a", 0, 0, value).json(Order) == Order(1)
    assert Message("a", 0, 0, msgspec.msgpack.encode(Order(2))).msgpack(Order) == Order(2)
    with pytest.raises(msgspec.DecodeError):
        Message("a", 0, 0, "no json").json()
    with pytest.raises(msgspec.ValidationError):
        Message("a", 0, 0, "[]").json(Order)


def test_a_message_shows_what_it_has_and_of_a_long_value_the_beginning() -> None:
    assert repr(Message("a", 1, 2, "", "k")) == (
        "Message(topic='a', partition=1, offset=2, value='', key='k', timestamp=0)"
    )
    shown = repr(Delivery("a", 0, 0, b"x" * (1 << 20), receipt="r"))
    assert "xxx'... (1,048,576 bytes)" in shown
    assert "receipt='r', delivery_count=1" in shown
    assert len(shown) < 300
