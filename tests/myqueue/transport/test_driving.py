from __future__ import annotations

import threading
from typing import Any

import pytest

from myqueue.contract.errors import BrokerUnreachable
from myqueue.contract.http1 import Request
from myqueue.transport.driving import drive
from myqueue.transport.effects import Acquire, Ask, Await, AwaitAny, Begin, Flow, Pause
from tests.myqueue.conftest import World

TOPICS = Request("GET", "/topics")


def test_effects_are_carried_out_in_order(world: World) -> None:
    lock = threading.Lock()

    def flow() -> Flow[Any]:
        answer = yield Ask(world.twin.manager, TOPICS, 5.0)
        pending = yield Begin(world.twin.manager, TOPICS, 5.0)
        answered = yield AwaitAny([pending], 5.0)
        assert answered == [pending]
        again = yield Await(pending)
        yield Pause(2.0)
        assert (yield Acquire(lock))
        assert not (yield Acquire(lock, 0.0))
        lock.release()
        return answer.status, again.status

    assert drive(flow(), world.transport, world.clock) == (200, 200)
    assert world.clock.slept == [2.0]


def test_a_flow_is_told_what_went_wrong(world: World) -> None:
    def flow() -> Flow[str]:
        try:
            yield Ask("http://nobody:1", TOPICS, 5.0)
        except BrokerUnreachable as error:
            return error.code
        return ""

    assert drive(flow(), world.transport, world.clock) == "BROKER_UNREACHABLE"


def test_what_a_flow_raises_is_raised(world: World) -> None:
    def flow() -> Flow[None]:
        yield Pause(0.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(flow(), world.transport, world.clock)


def test_an_interrupt_reaches_the_flow(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[bool] = []

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    def flow() -> Flow[None]:
        try:
            yield Pause(1.0)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(world.clock, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        drive(flow(), world.transport, world.clock)
    assert cleaned == [True]
