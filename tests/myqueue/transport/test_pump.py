from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.transport.effects import Acquire, Ask, Await, AwaitAny, Begin, Flow, Pause
from myqueue.transport.pump import Pump
from myqueue.transport.selfpipe import SelfPipe
from tests.myqueue.conftest import World

TOPICS = Request("GET", "/topics")


@pytest.fixture
def pump(world: World) -> Iterator[Pump]:
    waker = SelfPipe()
    yield Pump(world.transport, world.clock, waker)
    waker.close()


def run(pump: Pump) -> None:
    while not pump.is_idle:
        pump.turn()


def test_flows_go_on_while_others_wait(world: World, pump: Pump) -> None:
    done: list[str] = []

    def flow(name: str, seconds: float) -> Flow[None]:
        yield Pause(seconds)
        answer = yield Ask(world.twin.manager, TOPICS, 5.0)
        assert answer.status == 200
        done.append(name)

    pump.start(flow("slow", 3.0))
    pump.start(flow("quick", 1.0))
    run(pump)
    assert done == ["quick", "slow"]
    assert world.clock.now_s == 1_003


def test_an_answer_that_does_not_come_in_time_is_none(world: World, pump: Pump) -> None:
    world.twin.stopped = {world.twin.brokers[0]}
    found: list[object] = []

    def flow() -> Flow[None]:
        pending = yield Begin(world.twin.brokers[0], TOPICS, 60.0)
        found.append((yield Await(pending, 2.0)))
        try:
            yield Ask("http://nobody:1", TOPICS, 5.0)
        except BrokerUnreachable as error:
            found.append(error.code)

    pump.start(flow())
    run(pump)
    assert found == [None, "BROKER_UNREACHABLE"]
    assert world.clock.now_s == 1_002


def test_a_lock_of_another_flow_stops_nobody_else(world: World, pump: Pump) -> None:
    lock = threading.Lock()
    order: list[str] = []

    def holder() -> Flow[None]:
        yield Acquire(lock)
        yield Pause(0.5)
        order.append("holder")
        lock.release()

    def waiter() -> Flow[None]:
        assert (yield Acquire(lock))
        order.append("waiter")
        lock.release()

    def other() -> Flow[None]:
        yield Pause(0.1)
        order.append("other")

    for flow in (holder(), waiter(), other()):
        pump.start(flow)
    run(pump)
    assert order == ["other", "holder", "waiter"]


def test_a_bug_in_one_flow_ends_it_alone(
    world: World, pump: Pump, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []

    def broken() -> Flow[None]:
        yield Pause(0.1)
        raise ZeroDivisionError

    def wrong() -> Flow[None]:
        yield AwaitAny([], 1.0)

    def fine() -> Flow[None]:
        yield Pause(0.2)
        done.append(1)

    with caplog.at_level(logging.ERROR):
        for flow in (broken(), wrong(), fine()):
            pump.start(flow)
        run(pump)
    assert done == [1]
    assert caplog.text.count("unexpected way") == 2


def test_the_waker_ends_a_wait(world: World) -> None:
    waker = SelfPipe()
    pump = Pump(world.transport, world.clock, waker)
    waker.wake()
    waker.wake()
    pump.turn()
    waker.clear()
    assert not waker.woken
    timer = threading.Timer(0.01, waker.wake)
    timer.start()
    pump.turn()
    timer.join()
    waker.close()


def test_closing_ends_flows_where_they_are(pump: Pump) -> None:
    ended: list[bool] = []

    def flow() -> Flow[None]:
        try:
            yield Pause(60.0)
        finally:
            ended.append(True)

    pump.start(flow())
    pump.close()
    assert ended == [True]
    assert pump.is_idle
