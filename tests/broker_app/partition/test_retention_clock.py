"""When a leader saw messages first."""

from __future__ import annotations

from broker_app.partition.retention_clock import SIGHTS_MAX, RetentionClock


def test_messages_are_as_old_as_their_first_sight() -> None:
    clock = RetentionClock()
    assert clock.seen_until(1_000) == 0
    clock.note(10, 100)
    clock.note(20, 200)
    assert [clock.seen_until(time) for time in (99, 100, 199, 200, 999)] == [0, 10, 10, 20, 20]


def test_what_was_seen_before_stays_as_old_as_it_was() -> None:
    clock = RetentionClock()
    clock.note(10, 100)
    clock.note(10, 500)
    clock.note(20, 90)  # the clock went back
    assert clock.seen_until(100) == 10
    assert clock.seen_until(10_000) == 10


def test_sights_are_bounded_and_thinned_out_on_the_safe_side() -> None:
    clock = RetentionClock()
    for number in range(1, 3_000):
        clock.note(number, number)
    assert len(clock._sights) <= SIGHTS_MAX
    assert clock.seen_until(2_999) == 2_999
    assert all(clock.seen_until(time) <= time for time in range(0, 3_000, 7))
