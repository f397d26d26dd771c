"""A throttle of guesses: who was wrong several times waits, each time for longer."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FREE_FAILURES = 4
"""So many mistakes cost nothing."""
DELAY_MAX_S = 300.0
"""Longest wait for the next try; the first is a second, and each mistake doubles it."""
FORGET_AFTER_S = 3_600.0
"""Seconds after the last mistake until it is as if there had been none."""
KEYS_MAX = 10_000
"""Addresses and names that are remembered; beyond it the one that was wrong longest ago goes."""


class _Failures(NamedTuple):
    times: int
    last_s: float

    @property
    def until_s(self) -> float:
        """When the next try is let through."""
        beyond = self.times - FREE_FAILURES
        if beyond <= 0:
            return self.last_s
        return self.last_s + min(DELAY_MAX_S, 2.0 ** min(beyond - 1, 30))


class Throttle:
    """Mistakes by key, such as an address or a name; used by several threads."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        """Remember nobody.

        Args:
            monotonic_s: clock, in seconds.
        """
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def begin(self, keys: Iterable[str]) -> int:
        """Count a try of all these as a mistake, or say how long to wait; `succeed` takes it back.

        Counted before the answer is known, so that tries at the same time are no way around.

        Returns:
            0 when it may be made, else the seconds until it may, rounded up; it is not counted.
        """
        now_s = self._monotonic_s()
        with self._lock:
            known = {key: self._of(key, now_s) for key in keys}
            wait_s = max((one.until_s - now_s for one in known.values()), default=0.0)
            if wait_s > 0:
                return math.ceil(wait_s)
            for key, one in known.items():
                self._failures[key] = _Failures(one.times + 1, now_s)
                self._failures.move_to_end(key)
            while len(self._failures) > KEYS_MAX:
                self._failures.popitem(last=False)
        return 0

    def succeed(self, keys: Iterable[str]) -> None:
        """Forget the mistakes of these: whoever it was has proven to be right."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _of(self, key: str, now_s: float) -> _Failures:
        found = self._failures.get(key)
        if found is None or now_s - found.last_s >= FORGET_AFTER_S:
            return _Failures(0, now_s)
        return found


class Places:
    """Whence somebody has proven to be right, the latest; used by several threads."""

    def __init__(self) -> None:
        """Remember none."""
        self._lock = threading.Lock()
        self._places: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, place: str) -> bool:
        return place in self._places

    def add(self, place: str) -> None:
        """Remember one; beyond `KEYS_MAX` the one that was added longest ago goes."""
        with self._lock:
            self._places[place] = None
            self._places.move_to_end(place)
            if len(self._places) > KEYS_MAX:
                self._places.popitem(last=False)
