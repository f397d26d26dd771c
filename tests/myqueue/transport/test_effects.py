from __future__ import annotations

from typing import Any

import pytest

from myqueue.contract.errors import BrokerUnreachable, InvalidRequest
from myqueue.contract.http1 import Request
from myqueue.transport.effects import (
    Acquire,
    Ask,
    Await,
    AwaitAny,
    Begin,
    Effect,
    Flow,
    Pause,
    TimeIsOver,
    within,
)
from tests.myqueue.fake_clock import FakeClock

REQUEST = Request("GET", "/")
PENDING: Any = object()
LOCK: Any = object()
LONG = [
    (Ask("a", REQUEST, 60), Ask("a", REQUEST, 2)),
    (Begin("a", REQUEST, 60), Begin("a", REQUEST, 60, connect_s=2)),
    (Await(PENDING), Await(PENDING, 2)),
    (Await(PENDING, 60), Await(PENDING, 2)),
    (AwaitAny([PENDING], 60), AwaitAny([PENDING], 2)),
    (Pause(60), Pause(2)),
    (Acquire(LOCK), Acquire(LOCK, 2)),
    (Acquire(LOCK, 60), Acquire(LOCK, 2)),
]
SHORT = [
    Ask("a", REQUEST, 1),
    Await(PENDING, 1),
    AwaitAny([PENDING], 1),
    Pause(1),
    Acquire(LOCK, 1),
]


def waiting(effect: Effect, seen: list[Any]) -> Flow[str]:
    """Wait for one thing, and note what came of it."""
    try:
        seen.append((yield effect))
    except BaseException as error:
        seen.append(type(error))
        raise
    return "done"


@pytest.mark.parametrize(("effect", "shorter"), LONG)
def test_whatever_a_flow_waits_for_ends_in_time(effect: Effect, shorter: Effect) -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(effect, seen), clock, clock.now_s + 2)
    assert next(flow) == shorter
    clock.now_s += 2
    with pytest.raises(TimeIsOver):
        flow.send(None)
    assert seen == [TimeIsOver]


@pytest.mark.parametrize("effect", SHORT)
def test_what_is_short_is_left_alone(effect: Effect) -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(effect, seen), clock, clock.now_s + 2)
    assert next(flow) is effect
    with pytest.raises(StopIteration) as end:
        flow.send(None)
    assert end.value.value == "done"


@pytest.mark.parametrize(("effect", "shorter"), LONG)
def test_what_came_in_time_counts_though_it_is_late_by_now(effect: Effect, shorter: Effect) -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(effect, seen), clock, clock.now_s + 2)
    assert next(flow) == shorter
    clock.now_s += 3
    with pytest.raises(StopIteration):
        flow.send("answer")
    assert seen == ["answer"]


def test_an_answer_that_is_lost_because_of_the_limit_is_no_fault_of_the_broker() -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(Ask("a", REQUEST, 60), seen), clock, clock.now_s + 2)
    next(flow)
    clock.now_s += 2
    with pytest.raises(TimeIsOver):
        flow.throw(BrokerUnreachable("cut off"))
    assert seen == [TimeIsOver]


@pytest.mark.parametrize("error", [BrokerUnreachable("gone"), InvalidRequest("x")])
def test_a_failure_in_time_is_what_it_is(error: Exception) -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(Ask("a", REQUEST, 60), seen), clock, clock.now_s + 2)
    next(flow)
    clock.now_s += 1
    with pytest.raises(type(error)):
        flow.throw(error)
    assert seen == [type(error)]


def test_an_interrupt_is_never_replaced() -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(Pause(60), seen), clock, clock.now_s + 2)
    next(flow)
    clock.now_s += 2
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert seen == [KeyboardInterrupt]


def test_a_flow_that_is_closed_is_closed_within() -> None:
    clock, seen = FakeClock(), []
    flow = within(waiting(Pause(60), seen), clock, clock.now_s + 2)
    next(flow)
    flow.close()
    assert seen == [GeneratorExit]
