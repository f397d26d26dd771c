from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from manager_app.last_seen import LastSeen
from manager_app.selectors import ClientKey


def test_who_is_silent_for_less_than_the_limit_of_the_dead_is_told_apart():
    heartbeats = LastSeen(60)
    heartbeats.beat("one", 100)
    heartbeats.beat("two", 105)
    assert heartbeats.silent(112, 12) == frozenset()
    assert heartbeats.silent(112.5, 12) == {"one"}
    assert heartbeats.dead(112.5) == []


def test_silence_up_to_the_limit_is_life_and_beyond_it_death():
    heartbeats: LastSeen[int] = LastSeen(60)
    heartbeats.beat(1, 100.0)
    assert not heartbeats.is_dead(1, 160.0)
    assert heartbeats.is_dead(1, 160.1)
    assert heartbeats.dead(160.1) == [1]


def test_who_is_unknown_is_not_dead():
    assert not LastSeen[int](60).is_dead(1, 1e9)


def test_the_first_look_at_the_database_starts_anew():
    heartbeats: LastSeen[int] = LastSeen(60)
    heartbeats.observe(1, "a year ago", 5_000.0)
    assert not heartbeats.is_dead(1, 5_060.0)
    heartbeats.observe(1, "a year ago", 5_061.0)
    assert heartbeats.is_dead(1, 5_061.0)


def test_a_heartbeat_that_another_manager_recorded_counts():
    heartbeats: LastSeen[int] = LastSeen(60)
    heartbeats.observe(1, "12:00:00", 0.0)
    heartbeats.observe(1, "12:00:15", 50.0)
    assert not heartbeats.is_dead(1, 110.0)


def test_what_this_manager_recorded_itself_is_no_new_sign_of_life():
    heartbeats: LastSeen[int] = LastSeen(60)
    heartbeats.observe(1, "12:00:00", 0.0)
    heartbeats.beat(1, 10.0)
    heartbeats.recorded(1, "12:00:10")
    heartbeats.observe(1, "12:00:10", 50.0)
    assert heartbeats.is_dead(1, 71.0)


def test_a_clock_reading_that_comes_late_takes_no_life_back():
    heartbeats: LastSeen[int] = LastSeen(60)
    heartbeats.beat(1, 100.0)
    heartbeats.beat(1, 40.0)
    assert heartbeats.last_seen_s(1) == 100.0


def test_producer_and_consumer_of_one_number_never_disturb_each_other():
    heartbeats: LastSeen[ClientKey] = LastSeen(60)
    producer, consumer = ClientKey("producer", 7), ClientKey("consumer", 7)
    heartbeats.beat(producer, 0.0)
    heartbeats.beat(consumer, 0.0)
    for second in range(0, 181, 15):
        heartbeats.beat(consumer, float(second))
        assert not heartbeats.is_dead(consumer, second + 14.9)
        assert heartbeats.is_dead(producer, second + 14.9) == (second + 14.9 > 60)
    heartbeats.forget(producer)
    assert consumer in heartbeats
    assert producer not in heartbeats
    assert len(heartbeats) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1_000)), max_size=50))
def test_dead_are_exactly_those_whose_latest_sign_is_too_old(signs):
    heartbeats: LastSeen[str] = LastSeen(60)
    for key, at_s in signs:
        heartbeats.beat(key, at_s)
    latest = {key: max(at for k, at in signs if k == key) for key, _ in signs}
    assert sorted(heartbeats.dead(500.0)) == sorted(k for k, at in latest.items() if 500 - at > 60)
