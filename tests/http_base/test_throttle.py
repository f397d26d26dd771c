"""Guesses wait longer and longer; the right answer, and time, make them good."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from http_base.throttle import (
    DELAY_MAX_S,
    FORGET_AFTER_S,
    FREE_FAILURES,
    KEYS_MAX,
    Places,
    Throttle,
)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def wrong(throttle: Throttle, key: str, times: int) -> list[int]:
    return [throttle.begin([key]) for _ in range(times)]


def test_waits_double_up_to_the_longest():
    clock = Clock()
    throttle = Throttle(clock)
    assert wrong(throttle, "a", FREE_FAILURES + 1) == [0] * (FREE_FAILURES + 1)
    waits = []
    for _ in range(12):
        wait_s = throttle.begin(["a"])
        waits.append(wait_s)
        clock.now_s += wait_s - 0.5
        assert throttle.begin(["a"]) == 1, "half a second too early"
        clock.now_s += 0.5
        assert throttle.begin(["a"]) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, DELAY_MAX_S, DELAY_MAX_S, DELAY_MAX_S]


def test_a_try_that_has_to_wait_for_one_key_counts_for_no_other():
    throttle = Throttle(Clock())
    wrong(throttle, "a", FREE_FAILURES + 1)
    for _ in range(20):
        assert throttle.begin(["a", "b"]) == 1
    assert throttle.begin(["b"]) == 0


def test_success_and_time_forget():
    clock = Clock()
    throttle = Throttle(clock)
    for key in ("a", "b"):
        wrong(throttle, key, FREE_FAILURES + 1)
    throttle.succeed(["a"])
    assert throttle.begin(["a"]) == 0
    clock.now_s += FORGET_AFTER_S
    assert wrong(throttle, "b", FREE_FAILURES + 1) == [0] * (FREE_FAILURES + 1)


def test_the_table_is_bounded():
    throttle = Throttle(Clock())
    for number in range(KEYS_MAX + 100):
        throttle.begin([f"address {number}"])
    assert len(throttle) == KEYS_MAX


def test_tries_at_the_same_time_are_no_way_around():
    throttle = Throttle(Clock())
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: throttle.begin(["a"]), range(100)))
    assert waits.count(0) == FREE_FAILURES + 1


def test_the_latest_places_are_remembered():
    places = Places()
    for number in range(KEYS_MAX):
        places.add(f"{number}")
    places.add("0")
    places.add("new")
    assert ("0" in places, "1" in places, "new" in places) == (True, False, True)
    assert len(places) == KEYS_MAX
