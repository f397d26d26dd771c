from __future__ import annotations

import pytest

from myqueue.contract.backoff import Backoff


def test_a_pause_doubles_with_each_failure_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause_s(failures) for failures in range(6)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_failures_without_end_leave_the_longest_pause() -> None:
    assert Backoff(0.001, 10.0, 1.0).pause_s(10**9) == 10.0


@pytest.mark.parametrize(
    ("jitter", "pauses"), [(0.0, [2.0, 2.0, 2.0]), (0.5, [1.0, 1.5, 2.0]), (1.0, [0.0, 1.0, 2.0])]
)
def test_chance_decides_the_share_that_is_called_jitter(jitter: float, pauses: list[float]) -> None:
    backoff = Backoff(1.0, 8.0, jitter)
    assert [backoff.pause_s(1, random) for random in (0.0, 0.5, 1.0)] == pauses


@pytest.mark.parametrize("wrong", [(-1.0, 1.0), (2.0, 1.0), (1.0, 2.0, -0.1), (1.0, 2.0, 1.1)])
def test_impossible_pauses_do_not_exist(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no such pauses"):
        Backoff(*wrong)
