from __future__ import annotations

import threading
from functools import partial

import pytest

from myqueue.config import ClientConfig
from myqueue.consumer.pop_calls import look_request
from myqueue.contract.errors import BrokerUnreachable, InvalidRequest, NoLeader, QueueError
from myqueue.transport.driving import drive
from myqueue.transport.effects import Acquire, Flow, Pause
from myqueue.transport.partition_waiting import PartitionWaiting
from myqueue.transport.rotation import TopicPartition
from myqueue.transport.session import Session
from tests.myqueue.conftest import World

ALL: list[TopicPartition] = [("logs", 0), ("logs", 1), ("logs", 2)]
HURRIED = ClientConfig(delivery_timeout_ms=1_000)


def waiting(world: World, config: ClientConfig = HURRIED) -> tuple[Session, PartitionWaiting]:
    """Return a registered session, and what waits for the three partitions of its topic."""
    world.twin.create("logs", len(ALL))
    session = Session(
        "consumer",
        world.twin.manager,
        config=config,
        clock=world.clock,
        make_lock=threading.Lock,
    )
    drive(session.open(["logs"]), world.transport, world.clock)
    return session, PartitionWaiting(session, partial(look_request, wait_ms=HURRIED.long_poll_ms))


class Asked:
    """Partitions that answer as told, one after the other."""

    def __init__(self, answers: dict[TopicPartition, list[str] | QueueError]) -> None:
        self.answers = answers
        self.asked: list[TopicPartition] = []

    def __call__(self, where: TopicPartition) -> Flow[list[str]]:
        self.asked.append(where)
        yield Pause(0.01)
        answer = self.answers.get(where, [])
        if isinstance(answer, QueueError):
            raise answer
        return answer


def test_one_that_does_not_answer_leaves_the_others_their_turn(world: World) -> None:
    session, made = waiting(world)
    asked = Asked({ALL[0]: NoLeader(), ALL[2]: ["found"]})
    for _ in range(2):
        wait = session.begin_wait(0.0)
        flow = made.ask_in_turn(ALL, asked, set(), wait)
        assert drive(flow, world.transport, world.clock) == ["found"]
        assert wait.asking is None
    # The one that failed rests, the others go on behind the one that was served.
    assert asked.asked == [*ALL, ALL[1], ALL[2]]
    assert not made.is_over(ALL[:1], session.begin_wait(0.0))
    assert made.is_over(ALL[1:], session.begin_wait(0.0))


def test_those_that_are_known_to_be_empty_are_not_asked(world: World) -> None:
    session, made = waiting(world)
    asked = Asked({})
    flow = made.ask_in_turn(ALL, asked, {ALL[0], ALL[1]}, session.begin_wait(0.0))
    assert drive(flow, world.transport, world.clock) == []
    assert asked.asked == [ALL[2]]


def test_a_refusal_is_raised_at_once(world: World) -> None:
    session, made = waiting(world)
    asked = Asked({ALL[0]: InvalidRequest("no")})
    flow = made.ask_in_turn(ALL, asked, set(), session.begin_wait(0.0))
    with pytest.raises(InvalidRequest):
        drive(flow, world.transport, world.clock)
    assert asked.asked == [ALL[0]]


def test_a_wait_says_who_has_certainly_nothing(world: World) -> None:
    _, made = waiting(world)
    world.clock.after(2, lambda: world.twin.topics["logs"][1].put("x"))
    flow = made.wait(ALL, world.clock.now_s + 10)
    assert drive(flow, world.transport, world.clock) == {ALL[0], ALL[2]}
    held = [one for one in world.transport.begun if one.result() is None]
    leaders = {world.twin.topics["logs"][index].leader for index in (0, 2)}
    assert {exchange.address for exchange in held} == leaders
    assert not any(exchange.cancelled for exchange in held)
    made.close()
    assert all(exchange.cancelled for exchange in held)


def test_nobody_waits_longer_for_another_flow_than_asked(world: World) -> None:
    _, made = waiting(world)
    first = made.wait(ALL, world.clock.now_s + 10)
    assert isinstance(first.send(None), Acquire)
    assert made._wait_lock.acquire(blocking=False)  # type: ignore[attr-defined]
    first.send(True)
    second = made.wait(ALL, world.clock.now_s + 0.5)
    assert second.send(None) == Acquire(made._wait_lock, 0.5)
    with pytest.raises(StopIteration) as ended:
        second.send(False)
    assert ended.value.value == set()
    first.close()
    assert not made._wait_lock.locked()


def test_who_was_asked_when_the_time_was_over_is_silent_until_that_is_raised(
    world: World,
) -> None:
    session, made = waiting(world)
    for _ in range(2):
        wait = session.begin_wait(0.5)
        wait.asking = ALL[1]
        world.clock.sleep(0.5)
        made.out_of_time("logs", wait)
    wait = session.begin_wait(0.5)
    world.clock.sleep(0.5)
    wait.asking = ALL[1]
    with pytest.raises(BrokerUnreachable, match="no leader of partition 1"):
        made.out_of_time("logs", wait)


def test_silence_is_told_after_an_election_and_counts_from_what_was_not_answered(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    session, made = waiting(world, ClientConfig())
    for _ in range(4):  # polls of half a second at a server that hangs
        assert "may not be seen" not in caplog.text
        wait = session.begin_wait(0.5)
        wait.ask(ALL[1], world.clock.now_s)
        world.clock.sleep(0.5)
        made.failed(ALL[1], NoLeader("elects"), wait)
        assert made.is_over(ALL, wait)
    assert "logs/1: no answer for 2.0 s, so messages that are there may not be seen" in caplog.text
    caplog.clear()
    made.rotation.answered(ALL[1], served=False)
    assert made.is_over(ALL, wait)
    world.clock.sleep(600)
    wait = session.begin_wait(0.5)
    wait.ask(ALL[1], world.clock.now_s)
    made.failed(ALL[1], NoLeader("elects"), wait)
    world.clock.sleep(0.5)
    assert made.is_over(ALL, wait)
    assert caplog.text == "", "nothing was asked for ten minutes"
    world.clock.sleep(300)
    wait = session.begin_wait(0.5)
    wait.ask(ALL[1], world.clock.now_s)
    made.failed(ALL[1], NoLeader("elects"), wait)
    world.clock.sleep(0.5)
    assert made.is_over(ALL, wait)
    assert "no answer for 301.0 s" in caplog.text
