from __future__ import annotations

import threading
from typing import Any

import pytest

from myqueue.config import ClientConfig
from myqueue.errors import BufferFull, ClientClosed, NoLeader, UndeliveredMessages
from myqueue.records import Record
from myqueue.results import Delivered, DeliveredBatch
from myqueue.sender import Sender

WHERE = ("logs", 0)


class Gate:
    """Delivers when it is open, and remembers what."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.batches: list[list[Any]] = []
        self.error: Exception | None = None

    def deliver(self, topic: str, partition: int, records: list[Record]) -> DeliveredBatch:
        self.entered.set()
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        base_offset = sum(map(len, self.batches))
        self.batches.append([record.value for record in records])
        return DeliveredBatch(partition, base_offset, len(records))


def test_what_arrives_while_a_batch_is_out_is_the_next_batch() -> None:
    gate = Gate()
    sender = Sender(gate.deliver, ClientConfig())
    first = sender.put(WHERE, Record("0"))
    assert gate.entered.wait(10)
    others = [sender.put(WHERE, Record(f"{n}")) for n in range(1, 6)]
    assert sender.holds(WHERE)
    assert not sender.flush(0.01)
    gate.open.set()
    assert sender.flush(10)
    assert gate.batches == [["0"], ["1", "2", "3", "4", "5"]]
    assert first.result() == Delivered(0, 0)
    assert [future.result().offset for future in others] == [1, 2, 3, 4, 5]
    assert not sender.holds(WHERE)
    sender.stop(10)


def test_a_full_buffer_blocks_and_then_refuses() -> None:
    gate = Gate()
    sender = Sender(gate.deliver, ClientConfig(buffer_bytes=100, max_block_ms=20))
    sender.put(WHERE, Record("0"))
    assert gate.entered.wait(10)
    sender.put(WHERE, Record("1"))
    with pytest.raises(BufferFull):
        sender.put(WHERE, Record("2"))
    gate.open.set()
    assert sender.flush(10)
    sender.put(WHERE, Record("3"))
    sender.stop(10)
    assert gate.batches == [["0"], ["1"], ["3"]]


def test_a_failed_batch_fails_its_futures_and_no_others() -> None:
    gate = Gate()
    gate.error = NoLeader("elects")
    gate.open.set()
    sender = Sender(gate.deliver, ClientConfig())
    with pytest.raises(NoLeader):
        sender.put(WHERE, Record("0")).result(10)
    gate.error = None
    assert sender.put(WHERE, Record("1")).result(10) == Delivered(0, 0)
    gate.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        sender.put(WHERE, Record("2")).result(10)
    sender.stop(10)


def test_stopping_says_what_was_not_delivered() -> None:
    gate = Gate()
    sender = Sender(gate.deliver, ClientConfig())
    sender.put(WHERE, Record("out"))
    assert gate.entered.wait(10)
    left = sender.put(WHERE, Record("left"))
    with pytest.raises(UndeliveredMessages) as caught:
        sender.stop(0.01)
    assert caught.value.details["values"] == ["out", "left"]
    assert not caught.value.outcome_known
    assert left.cancelled()
    with pytest.raises(ClientClosed):
        sender.put(WHERE, Record("more"))
    gate.open.set()
    assert sender.flush(10)


def test_a_cancelled_message_is_not_sent() -> None:
    gate = Gate()
    sender = Sender(gate.deliver, ClientConfig())
    sender.put(WHERE, Record("0"))
    assert gate.entered.wait(10)
    assert sender.put(WHERE, Record("1")).cancel()
    gate.open.set()
    sender.stop(10)
    assert gate.batches == [["0"]]
