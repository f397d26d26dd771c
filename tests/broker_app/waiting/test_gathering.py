"""Requests of many callers that leave together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from broker_app.waiting.gathering import (
    CALLERS_MAX,
    CALLERS_MIN,
    HELD_S_MAX,
    MISSES_MAX,
    UNHELD_MIN,
    Gathering,
)

ROUND_S = 0.002


@dataclass(eq=False)
class Timer:
    due_s: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """A clock that goes on when it is told to, and its timers."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now_s + delay_s, callback))
        return self.timers[-1]

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        for timer in [one for one in self.timers if one.due_s <= self.now_s]:
            self.timers.remove(timer)
            if timer.callback is not None:
                timer.callback()


class Callers:
    """Callers that each send when they are told to."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.gathering = Gathering(self.loop)  # type: ignore[arg-type]
        self.groups: list[int] = []
        """How many left at each moment at which some did."""
        self.left: list[float] = []
        """When those left that are not answered."""
        self._leaving = 0

    def send(self, count: int) -> list[int]:
        """Send from so many callers; return how large the groups were that left meanwhile."""
        before = len(self.groups)
        for _ in range(count):
            self.gathering.add(self._leave)
            self._note()
        return self.groups[before:]

    def _leave(self, now_s: float) -> None:
        self.left.append(now_s)
        self._leaving += 1

    def _note(self) -> None:
        if self._leaving:
            self.groups.append(self._leaving)
            self._leaving = 0

    def answer(self, after_s: float = ROUND_S) -> int:
        """Answer all that left, so long after; return how many they were."""
        self.pass_time(after_s)
        answered, self.left = self.left, []
        for left_s in answered:
            self.gathering.answered(left_s)
        return len(answered)

    def pass_time(self, seconds: float) -> list[int]:
        """Let time pass; return how large a group left then, if any."""
        before = len(self.groups)
        self.loop.pass_time(seconds)
        self._note()
        return self.groups[before:]


@pytest.fixture
def callers() -> Callers:
    return Callers()


def meet(callers: Callers, count: int) -> None:
    """Have so many callers at work, which are known to be."""
    callers.send(count)
    callers.pass_time(HELD_S_MAX)
    callers.answer()


def test_few_callers_are_never_held(callers: Callers) -> None:
    few = CALLERS_MIN - 1
    for _ in range(5):
        assert callers.send(few) == [1] * few
        callers.answer()
    assert not callers.loop.timers


def test_who_comes_back_one_after_the_other_leaves_with_the_others(callers: Callers) -> None:
    meet(callers, 16)
    for _ in range(3):
        assert callers.send(15) == []
        assert callers.send(1) == [16]
        assert callers.answer() == 16


def test_who_does_not_come_is_waited_for_as_long_as_an_answer_takes(callers: Callers) -> None:
    meet(callers, 16)
    assert callers.send(9) == []
    assert callers.pass_time(ROUND_S * 0.9) == []
    assert callers.pass_time(ROUND_S * 0.2) == [9]
    callers.answer()
    assert callers.send(9) == [9], "there are nine now"


def test_nobody_is_held_longer_than_the_limit_however_slow_the_answers_are(
    callers: Callers,
) -> None:
    meet(callers, 16)
    callers.send(16)
    callers.answer(after_s=3.0)
    callers.send(9)
    assert callers.pass_time(HELD_S_MAX) == [9]


def test_a_new_caller_is_waited_for_the_next_time(callers: Callers) -> None:
    meet(callers, 8)
    callers.send(8)
    assert callers.send(1) == [], "the others may be answered soon"
    callers.answer(after_s=ROUND_S / 2)
    assert callers.send(7) == []
    assert callers.send(1) == [9]


def test_very_many_leave_in_groups(callers: Callers) -> None:
    meet(callers, 3 * CALLERS_MAX)
    assert callers.send(2 * CALLERS_MAX) == [CALLERS_MAX] * 2


def test_where_others_never_come_back_most_are_not_held(callers: Callers) -> None:
    """Those that wait for a partition without a quorum seem to be at work for ever."""
    meet(callers, CALLERS_MIN)
    stuck = [callers.gathering.add(lambda _: None) for _ in range(CALLERS_MIN)]
    for _ in range(MISSES_MAX):
        assert callers.send(2) == []
        assert callers.pass_time(HELD_S_MAX) == [2]
        callers.answer()
    assert callers.send(UNHELD_MIN) == [1] * UNHELD_MIN
    callers.answer()
    assert callers.send(2) == [], f"{len(stuck)} may be back"
    assert callers.pass_time(HELD_S_MAX) == [2]
    callers.answer()
    assert callers.send(2 * UNHELD_MIN) == [1] * (2 * UNHELD_MIN)
