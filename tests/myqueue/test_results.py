from __future__ import annotations

from myqueue.results import Delivered, DeliveredBatch, Message


def test_a_message_shows_as_its_text() -> None:
    assert str(Message("a", 0, 0, "héllo")) == "héllo"
    assert Message("a", 0, 0, b"h\xc3\xa9").text == "hé"
    assert Message("a", 0, 0, b"\xff").text == "\N{REPLACEMENT CHARACTER}"


def test_acknowledgements_unpack() -> None:
    partition, offset = Delivered(1, 5)
    assert (partition, offset) == (1, 5)
    assert list(DeliveredBatch(1, 5, 3).offsets) == [5, 6, 7]
