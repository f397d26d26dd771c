from __future__ import annotations

import logging

import pytest

from myqueue.contract.errors import ManagerNotFound
from myqueue.transport.complaints import Complaints
from myqueue.transport.heartbeat_record import HeartbeatRecord
from tests.myqueue.fake_clock import FakeClock


def test_failures_in_a_row_are_told_when_an_election_would_be_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    record = HeartbeatRecord("consumer", clock, Complaints(logging.getLogger("test"), clock))
    record.failed(ManagerNotFound("first"), began_s=clock.now_s)
    clock.sleep(1.5)
    record.failed(ManagerNotFound("second"), began_s=clock.now_s)
    assert caplog.messages == []
    clock.sleep(1.5)
    record.failed(ManagerNotFound("third"), began_s=clock.now_s)
    assert caplog.messages == [
        "heartbeats of this consumer fail for 3.0 s: MANAGER_NOT_FOUND: third"
    ]
    assert record.unheard is not None
    assert (record.unheard.since_s, record.unheard.last_s) == (1_000.0, 1_003.0)
    record.answered()
    assert record.unheard is None
    record.failed(ManagerNotFound("later"), began_s=clock.now_s - 2.0)
    assert len(caplog.messages) == 2
