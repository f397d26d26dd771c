from __future__ import annotations

import time

from myqueue.transport.clock import SystemClock


def test_the_systems_clock_is_that_of_the_system() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    clock.sleep(0.0)
    assert before <= clock.monotonic()
    assert abs(clock.wall_ms() - time.time() * 1000) < 60_000
    assert all(0 <= clock.jitter() < 1 for _ in range(100))
