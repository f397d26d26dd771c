"""A clock that stands still until somebody sleeps, and does what is due on the way."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable


class FakeClock:
    """Virtual time in seconds; chance from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.now_s = 1_000.0
        self.slept: list[float] = []
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now_s * 1000)

    def jitter(self) -> float:
        return self._random.random()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.wait(lambda: False, seconds)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen later."""
        heapq.heappush(self._events, (self.now_s + seconds, next(self._order), event))

    def wait(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Advance until the predicate holds or the time is over."""
        deadline_s = self.now_s + seconds
        while not predicate():
            if not self._events or self._events[0][0] > deadline_s:
                self.now_s = deadline_s
                return predicate()
            due_s, _, event = heapq.heappop(self._events)
            self.now_s = max(self.now_s, due_s)
            event()
        return True
