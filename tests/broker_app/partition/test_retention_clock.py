"""When a leader saw messages first."""

from __future__ import annotations

from broker_app.partition.retention_clock import SIGHTS_MAX, FirstSights


def test_messages_are_as_old_as_their_first_sight() -> None:
    sights = FirstSights()
    assert sights.seen_until(1_000) == 0
    sights.note(10, 100)
    sights.note(20, 200)
    assert [sights.seen_until(time) for time in (99, 100, 199, 200, 999)] == [0, 10, 10, 20, 20]


def test_what_was_seen_before_stays_as_old_as_it_was() -> None:
    sights = FirstSights()
    sights.note(10, 100)
    sights.note(10, 500)
    sights.note(20, 90)  # the clock went back
    assert sights.seen_until(100) == 10
    assert sights.seen_until(10_000) == 10


def test_sights_are_bounded_and_thinned_out_on_the_safe_side() -> None:
    sights = FirstSights()
    for number in range(1, 3_000):
        sights.note(number, number)
    assert len(sights._sights) <= SIGHTS_MAX
    assert sights.seen_until(2_999) == 2_999
    assert all(sights.seen_until(time) <= time for time in range(0, 3_000, 7))
