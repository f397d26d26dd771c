"""Tries of a pop: the last one alone may take something."""

from __future__ import annotations

from broker_app.waiting.pop_tries import PopTries

KEY, OTHER, NAMELESS = (7, 5, b"r"), (7, 5, b"s"), (7, 5, b"")


def test_the_last_try_of_a_pop_supersedes_the_earlier_ones_for_good() -> None:
    tries = PopTries()
    with tries.begin(KEY) as first:
        with tries.begin(KEY) as second, tries.begin(OTHER) as other:
            assert (first.is_superseded, second.is_superseded, other.is_superseded) == (
                *(True, False),
                False,
            )
            assert KEY in tries
            assert len(tries) == 2
        assert first.is_superseded
        assert KEY in tries
    assert KEY not in tries
    assert not tries


def test_pops_without_a_request_id_know_nothing_of_each_other() -> None:
    tries = PopTries()
    with tries.begin(NAMELESS) as first, tries.begin(NAMELESS) as second:
        assert not (first.is_superseded)
        assert not (second.is_superseded)
        assert NAMELESS not in tries
