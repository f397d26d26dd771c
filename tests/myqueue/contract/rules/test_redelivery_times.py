"""Offsets that come back at a time, against a look at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from myqueue.contract.rules.redelivery_times import SLACK, RedeliveryTimes

OFFSETS = st.integers(0, 12)
TIMES = st.integers(0, 20)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), OFFSETS, TIMES),
        st.tuples(st.just("remove"), OFFSETS, st.just(0)),
        st.tuples(st.just("over"), st.integers(0, 15), TIMES),
        st.tuples(st.just("earliest"), st.just(0), TIMES),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_finds_what_a_look_at_all_finds(steps: list[tuple[str, int, int]]) -> None:
    due, plain = RedeliveryTimes(), dict[int, int]()
    for step, number, time_ms in steps:
        match step:
            case "put":
                due.put(number, time_ms)
                plain[number] = time_ms
            case "remove":
                due.remove(number)
                plain.pop(number, None)
            case "over":
                over = sorted(offset for offset, at in plain.items() if at <= time_ms)
                assert due.over(time_ms, number) == over[:number]
            case "earliest":
                expected = max(min(plain.values()), time_ms) if plain else None
                assert due.earliest(time_ms) == expected
        assert len(due) == len(plain)


def test_outdated_entries_do_not_pile_up() -> None:
    due = RedeliveryTimes()
    for time_ms in range(10_000):
        due.put(1, time_ms)
        assert due.over(time_ms, 5) == [1]
    assert len(due._by_time) + len(due._over) <= SLACK + 2
