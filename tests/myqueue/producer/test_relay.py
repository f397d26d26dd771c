from __future__ import annotations

import threading

import pytest

from myqueue.producer.futures import Outcome
from myqueue.producer.relay import PATIENCE_S, Relay


class Waiting:
    """A relay at a time of its own, with outcomes that are settled and wait for their turn."""

    def __init__(self, count: int) -> None:
        self.now_s = 7.0
        self.relay = Relay(lambda: self.now_s)
        self.outcomes: list[Outcome[int]] = [Outcome(self.relay) for _ in range(count)]
        for number, outcome in enumerate(self.outcomes):
            outcome.settle(number)

    @property
    def open(self) -> list[int]:
        """Which of them would not wait; they are closed again."""
        locks = [outcome._open for outcome in self.outcomes]
        return [number for number, lock in enumerate(locks) if lock.acquire(blocking=False)]


@pytest.fixture
def waiting() -> Waiting:
    return Waiting(4)


def test_each_wakes_the_next(waiting: Waiting) -> None:
    assert waiting.open == []
    waiting.relay.begin()
    assert waiting.open == [0]
    waiting.relay.pass_on()
    assert waiting.open == [1]
    waiting.relay.begin()
    assert waiting.open == [2]
    waiting.relay.pass_on()
    assert waiting.open == [3]
    waiting.relay.pass_on()
    assert waiting.open == []


def test_who_was_woken_passes_it_on_before_anything_else(waiting: Waiting) -> None:
    waiting.relay.begin()
    assert waiting.outcomes[0].wait() == 0
    assert waiting.open == [1]


def test_a_failure_waits_for_nobody(waiting: Waiting) -> None:
    failed: Outcome[int] = Outcome(waiting.relay)
    failed.fail(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        failed.wait()
    assert waiting.open == [0], "who was told of a failure passes it on, too"


def test_those_behind_one_that_left_are_woken_together(waiting: Waiting) -> None:
    waiting.relay.begin()
    assert waiting.open == [0], "and this one wakes nobody"
    assert waiting.relay.until_s == 7.0 + PATIENCE_S
    waiting.now_s += PATIENCE_S / 2
    waiting.relay.look()
    assert waiting.open == []
    waiting.now_s = waiting.relay.until_s
    waiting.relay.look()
    assert waiting.open == [1, 2, 3]
    assert waiting.relay.until_s is None


def test_at_the_end_all_are_woken(waiting: Waiting) -> None:
    waiting.relay.end()
    assert waiting.open == [0, 1, 2, 3]
    waiting.relay.begin()
    waiting.relay.pass_on()
    waiting.relay.look()
    assert waiting.relay.until_s is None


def test_threads_that_pass_it_on_at_once_wake_each_once() -> None:
    relay = Relay(lambda: 0.0)
    outcomes: list[Outcome[int]] = [Outcome(relay) for _ in range(2_000)]
    threads = [threading.Thread(target=outcome.wait) for outcome in outcomes[:64]]
    threads += [threading.Thread(target=relay.end) for _ in range(8)]
    for outcome in outcomes:
        outcome.settle(0)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert all(outcome._open.acquire(blocking=False) for outcome in outcomes[64:])
