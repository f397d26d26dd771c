from __future__ import annotations

import pytest

from myqueue.contract.errors import InvalidRequest
from myqueue.results import Delivery
from myqueue.worker.jobs import AtWork, HandlerOptions


def delivery(receipt: str, count: int = 1) -> Delivery:
    return Delivery("t", 0, 0, "x", receipt=receipt, delivery_count=count)


def test_a_failure_comes_again_later_each_time_up_to_a_limit() -> None:
    options = HandlerOptions(retry_delay=2.0, retry_delay_max=10.0)
    assert [options.delay_s(delivery("a", count)) for count in (1, 2, 3, 4, 99)] == [
        2,
        4,
        8,
        10,
        10,
    ]


def test_impossible_options_are_refused() -> None:
    for wrong in (
        {"concurrency": 0},
        {"retry_delay": -1.0},
        {"retry_delay_max": 43_201.0},
        {"retry_delay": 9.0, "retry_delay_max": 8.0},
    ):
        with pytest.raises(InvalidRequest, match=next(iter(wrong))):
            HandlerOptions(**wrong)  # type: ignore[arg-type]


def test_what_is_at_work_is_kept_in_time() -> None:
    at_work = AtWork(30.0)
    one, two = delivery("1"), delivery("2")
    at_work.begin([one, two], 100.0)
    assert at_work.due(109.9) == []
    assert at_work.due(110.0) == [one, two]
    at_work.end(one)
    assert (at_work.due(119.0), at_work.due(120.0)) == ([], [two])
    assert len(at_work) == 1
    assert (AtWork(30.0).look_s, AtWork(0.6).look_s) == (1.0, pytest.approx(0.1))
