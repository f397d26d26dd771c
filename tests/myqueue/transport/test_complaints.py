from __future__ import annotations

import logging

import pytest

from myqueue.transport.complaints import AGAIN_S, Complaints
from tests.myqueue.fake_clock import FakeClock


def test_each_cause_is_told_at_once_and_then_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    complaints = Complaints(logging.getLogger("myqueue.test"), clock)
    for number in range(3):
        complaints.warn("a", "a %d", number)
    complaints.warn("b", "b")
    clock.now_s += AGAIN_S - 0.1
    complaints.warn("a", "a too soon")
    clock.now_s += 0.1
    complaints.warn("a", "a again")
    complaints.warn("a", "a too soon")
    complaints.forget("a")
    complaints.warn("a", "a after it was over")
    assert caplog.messages == ["a 0", "b", "a again", "a after it was over"]
