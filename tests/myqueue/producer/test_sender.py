from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from myqueue.config import ClientConfig
from myqueue.contract.errors import (
    BufferFull,
    ClientClosed,
    UnauthorizedException,
    UndeliveredMessages,
)
from myqueue.contract.records import Record
from myqueue.producer import gathering
from myqueue.producer.core import ProducerCore
from myqueue.producer.futures import DeliveryFuture
from myqueue.producer.producer import Producer
from myqueue.producer.sender import Sender
from myqueue.producer.splitting import Splitting
from myqueue.results import Delivered
from myqueue.testing.queue import InMemoryQueue
from myqueue.testing.transport import MemoryTransport
from myqueue.transport.clock import SystemClock
from myqueue.transport.driving import drive
from myqueue.transport.settings import Settings

WHERE = ("logs", 0)


class Gate(InMemoryQueue):
    """A queue that keeps produce requests until it is opened."""

    def __init__(self) -> None:
        super().__init__({"logs": 2})
        self.opened = threading.Event()
        self.entered = threading.Event()

    def held_ms(self, address: str, request: object) -> int:
        if getattr(request, "path", "") == "/producer/produce" and not self.opened.is_set():
            self.entered.set()
            return 60_000
        return super().held_ms(address, request)  # type: ignore[arg-type]

    def batches(self, partition: int = 0) -> list[int]:
        """Return how many messages each batch has."""
        rows = self._api.state.topics["logs"][partition].batches
        starts = [base for base, _ in rows]
        ends = [*starts[1:], len(self._api.state.topics["logs"][partition].records)]
        return [end - start for start, end in zip(starts, ends, strict=True)]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def make_sender(gate: Gate, **settings: int) -> Sender:
    config, clock = ClientConfig(**settings), SystemClock()
    core = ProducerCore(gate.address, config=config, clock=clock, make_lock=threading.Lock)
    made = Settings(gate.address, config, MemoryTransport(gate), clock)
    drive(core.open(["logs"]), made.transport, clock)
    return Sender(core, made)


def put(
    sender: Sender, record: Record, where: tuple[str, int] = WHERE
) -> DeliveryFuture[Delivered]:
    future: DeliveryFuture[Delivered] = DeliveryFuture()
    sender.put(where, record, future)
    return future


def begin_to_stop(sender: Sender, stop: Callable[[], None] | None = None) -> threading.Thread:
    """Return the thread that stops a sender, once nothing more is taken."""
    thread = threading.Thread(target=stop or (lambda: sender.stop(10)))
    thread.start()
    with sender._core.changed:
        assert sender._core.changed.wait_for(lambda: sender._stopping, 10)
    return thread


def sender_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "myqueue-sender"}


def test_what_arrives_while_a_batch_is_out_is_the_next_batch(gate: Gate) -> None:
    sender = make_sender(gate)
    first = put(sender, Record("0"))
    assert gate.entered.wait(10)
    others = [put(sender, Record(f"{n}")) for n in range(1, 6)]
    assert not sender.flush(0.01)
    gate.opened.set()
    assert sender.flush(10)
    assert gate.batches() == [1, 5]
    assert first.result() == Delivered(0, 0)
    assert [future.result().offset for future in others] == [1, 2, 3, 4, 5]
    sender.stop(10)


def test_full_batches_are_out_at_once_and_stay_in_order(gate: Gate) -> None:
    sender = make_sender(gate, batch_messages=2)
    futures = [put(sender, Record(f"{n}")) for n in range(21)]
    assert gate.entered.wait(10)
    gate.opened.set()
    assert [future.result(10).offset for future in futures] == list(range(21))
    assert gate.values("logs") == [f"{n}" for n in range(21)]
    sender.stop(10)


def test_a_full_buffer_blocks_and_then_refuses(gate: Gate) -> None:
    sender = make_sender(gate, buffer_bytes=130, max_block_ms=20)
    put(sender, Record("0"))
    put(sender, Record("1"))
    with pytest.raises(BufferFull):
        put(sender, Record("2"))
    gate.opened.set()
    assert sender.flush(10)
    put(sender, Record("3"))
    sender.stop(10)
    assert gate.values("logs") == ["0", "1", "3"]


def test_a_buffer_full_of_headers_blocks_and_then_refuses(gate: Gate) -> None:
    sender = make_sender(gate, buffer_bytes=400, max_block_ms=20)
    record = Record("x", None, {"a": "漢" * 60})
    put(sender, record)
    with pytest.raises(BufferFull):
        put(sender, record)
    gate.opened.set()
    sender.stop(10)


def test_a_full_buffer_lets_go_on_when_there_is_room_again(gate: Gate) -> None:
    sender = make_sender(gate, buffer_bytes=130, max_block_ms=10_000)
    for number in range(2):
        put(sender, Record(f"{number}"))
    timer = threading.Timer(0.02, gate.opened.set)
    timer.start()
    for number in range(2, 9):
        put(sender, Record(f"{number}"))
    sender.stop(10)
    timer.join()
    assert gate.values("logs") == [f"{number}" for number in range(9)]


def test_a_zero_wait_refuses_at_once(gate: Gate) -> None:
    sender = make_sender(gate, buffer_bytes=65, max_block_ms=0)
    put(sender, Record("0"))
    with pytest.raises(BufferFull):
        put(sender, Record("1"))
    gate.opened.set()
    sender.stop(10)


def test_stopping_says_what_was_not_delivered(gate: Gate) -> None:
    sender = make_sender(gate)
    out = put(sender, Record("out"))
    assert gate.entered.wait(10)
    left = put(sender, Record("left"))
    with pytest.raises(UndeliveredMessages) as caught:
        sender.stop(0.01)
    assert caught.value.details["values"] == ["out", "left"]
    assert not caught.value.outcome_known
    assert isinstance(left.exception(0), UndeliveredMessages)
    with pytest.raises(ClientClosed):
        put(sender, Record("more"))
    gate.opened.set()
    assert out.result(10) == Delivered(0, 0)


def test_a_lone_batch_is_left_to_the_calling_thread(gate: Gate) -> None:
    sender = make_sender(gate)
    core = sender._core
    batch = core.single(WHERE, Record("mine"), DeliveryFuture())
    assert sender.put_alone(batch)
    assert not sender.put_alone(core.single(WHERE, Record("other"), DeliveryFuture()))
    behind = put(sender, Record("behind"))
    gate.opened.set()
    more = drive(core.deliver(batch), sender._transport, SystemClock())
    assert more
    sender.go_on(more)
    assert behind.result(10) == Delivered(0, 1)
    sender.stop(10)


def test_stopping_twice_and_without_messages_is_quick(gate: Gate) -> None:
    sender = make_sender(gate)
    sender.stop(10)
    sender.stop(10)
    assert sender.flush(0)


def test_what_waits_behind_a_lone_batch_is_sent_while_it_stops(gate: Gate) -> None:
    gate.opened.set()
    sender = make_sender(gate)
    core = sender._core
    batch = core.single(WHERE, Record("mine"), DeliveryFuture())
    assert sender.put_alone(batch)
    behind = put(sender, Record("behind"))
    stopping = begin_to_stop(sender)
    sender.go_on(drive(core.deliver(batch), sender._transport, SystemClock()))
    assert behind.result(10) == Delivered(0, 1)
    stopping.join(10)
    assert not stopping.is_alive()


def test_a_lone_batch_that_is_to_be_stamped_anew_is_sent_while_it_stops(gate: Gate) -> None:
    gate.opened.set()
    sender = make_sender(gate)
    buffer = sender._core.buffer
    future: DeliveryFuture[Delivered] = DeliveryFuture()
    batch = sender._core.single(WHERE, Record("mine"), future)
    assert sender.put_alone(batch)
    stopping = begin_to_stop(sender)
    with sender._core.lock:
        buffer.lane(batch).refused(batch)
        more = buffer.look_at(batch)
    sender.go_on(more)
    assert future.result(10) == Delivered(0, 0)
    stopping.join(10)
    assert not stopping.is_alive()


def test_the_thread_ends_with_the_last_batch_that_another_thread_sends(gate: Gate) -> None:
    gate.opened.set()
    others = sender_threads()
    sender = make_sender(gate)
    put(sender, Record("first"), ("logs", 1)).result(10)
    (thread,) = sender_threads() - others
    batch = sender._core.single(WHERE, Record("mine"), DeliveryFuture())
    assert sender.put_alone(batch)
    with pytest.raises(UndeliveredMessages):
        sender.stop(0.01)
    sender.go_on(drive(sender._core.deliver(batch), sender._transport, SystemClock()))
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_that_cannot_be_started_takes_no_message_and_is_tried_again(
    gate: Gate, one_thread_fails: list[threading.Thread]
) -> None:
    gate.opened.set()
    sender = make_sender(gate)
    with pytest.raises(RuntimeError, match="new thread"):
        put(sender, Record("0"))
    assert sender._core.buffer.held() == []
    assert put(sender, Record("1")).result(10) == Delivered(0, 0)
    sender.stop(10)
    assert gate.values("logs") == ["1"]
    assert [thread.name for thread in one_thread_fails] == ["myqueue-sender"]


def test_whole_batches_are_not_taken_when_no_thread_can_be_started(
    gate: Gate, one_thread_fails: list[threading.Thread]
) -> None:
    gate.opened.set()
    sender = make_sender(gate)
    core, parts = sender._core, Splitting(held_bytes_max=1 << 20)
    drive(
        core.group("logs", ["0"], parts, partition=0, key=None),
        sender._transport,
        SystemClock(),
    )
    batches = core.whole_batches("logs", parts.rest())
    with pytest.raises(RuntimeError, match="new thread"):
        sender.put_all(batches)
    assert sender.flush(0)
    sender.put_all(batches)
    assert sender.flush(10)
    sender.stop(10)
    assert gate.values("logs") == ["0"]
    assert one_thread_fails


def test_a_topic_without_a_registration_fails_alone(gate: Gate) -> None:
    gate.opened.set()
    sender = make_sender(gate)
    refused = put(sender, Record("x"), ("other", 0))
    assert isinstance(refused.exception(10), UnauthorizedException)
    assert put(sender, Record("0")).result(10) == Delivered(0, 0)
    sender.stop(10)


def test_a_producer_is_forgotten_after_its_messages_are_delivered(gate: Gate) -> None:
    config = ClientConfig(delivery_timeout_ms=10_000)
    producer = Producer("logs", gate.address, config=config, transport=MemoryTransport(gate))
    futures = [producer.send("logs", "first", partition=0)]
    assert gate.entered.wait(10)
    futures += [producer.send("logs", f"{n}", partition=0) for n in range(3)]
    forgetting = begin_to_stop(producer._sender, producer.forget)
    gate.opened.set()
    assert [future.result(10).offset for future in futures] == [0, 1, 2, 3]
    forgetting.join(10)
    assert not forgetting.is_alive()
    assert gate._api.state.clients == {}


def wait_until(predicate: Callable[[], bool]) -> None:
    """Look until it holds, for ten seconds at most."""
    for _ in range(10_000):
        if predicate():
            return
        time.sleep(0.001)
    raise AssertionError("not in time")


def call_in_threads(sender: Sender, gate: Gate, rounds: list[int]) -> None:
    """Have callers wait for one message after the other; the first of all is out alone.

    Args:
        sender: sends for all of them.
        gate: closed; it is opened when all callers wait for their first message.
        rounds: how many messages each of them sends.
    """

    def call(count: int) -> None:
        for _ in range(count):
            sender.deliver(WHERE, Record("x"))

    def given() -> int:
        return sum(len(batch.records) for batch in sender._core.buffer.held())

    threads = [threading.Thread(target=call, args=[count], daemon=True) for count in (1, *rounds)]
    threads[0].start()
    wait_until(lambda: given() == 1)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: given() == len(threads))
    gate.opened.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def hold_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have every hold last so long, however quick the answers are."""
    monkeypatch.setattr(gathering, "SHARE_OF_ROUND_TRIP", 1e9)
    monkeypatch.setattr(gathering, "HOLD_S_MAX", seconds)


def test_callers_that_one_answer_woke_leave_together(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_for(monkeypatch, 60)
    sender = make_sender(gate)
    call_in_threads(sender, gate, [2, 2, 2])
    assert gate.batches() == [1, 3, 3]
    sender.stop(10)


def test_a_caller_is_not_held_for_longer_because_others_do_not_come_back(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_for(monkeypatch, 0.05)
    sender = make_sender(gate)
    call_in_threads(sender, gate, [2, 1, 1])
    assert gate.batches() == [1, 3, 1]
    sender.stop(10)


def test_a_message_that_nobody_waits_for_is_not_held(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_for(monkeypatch, 60)
    sender = make_sender(gate)
    call_in_threads(sender, gate, [1, 1, 1])
    assert put(sender, Record("y")).result(10) == Delivered(0, 4)
    sender.stop(10)


class Interrupted(Exception):
    """Raised in a thread from outside."""


def test_a_caller_interrupted_as_it_wakes_leaves_the_others_waiting_for_a_moment_only(
    gate: Gate,
) -> None:
    """The answer wakes the first, which raises before it wakes the second."""
    callers = 6
    ended: dict[int, object] = {}

    def call(number: int) -> None:
        try:
            ended[number] = producer.enqueue("logs", f"{number}", partition=0)
        except Interrupted as error:
            ended[number] = error

    with Producer("logs", gate.address, transport=MemoryTransport(gate)) as producer:
        threads = [
            threading.Thread(target=call, args=(number,), daemon=True) for number in range(callers)
        ]
        threads[0].start()  # it sends its own, behind which the others wait
        assert gate.entered.wait(10)
        buffer = producer._core.buffer
        for number, thread in enumerate(threads[1:], 1):
            thread.start()
            while sum(len(batch.futures) for batch in buffer.held()) <= number:
                time.sleep(0.001)
        ident = threads[1].ident
        assert ident is not None
        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        assert raise_in(ctypes.c_ulong(ident), ctypes.py_object(Interrupted)) == 1
        gate.opened.set()
        until_s = time.monotonic() + 20
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        assert len(ended) == callers, "some wait for ever"
    assert isinstance(ended[1], Interrupted)
    assert all(isinstance(ended[number], Delivered) for number in range(callers) if number != 1)
    assert gate.batches() == [1, callers - 1]
