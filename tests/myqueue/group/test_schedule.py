from __future__ import annotations

import threading

from myqueue.config import ClientConfig
from myqueue.group.schedule import GroupSchedule
from myqueue.transport.session import Session
from tests.myqueue.fake_clock import FakeClock


def test_the_session_is_told_what_is_due_first() -> None:
    clock, woken = FakeClock(), []
    config = ClientConfig(heartbeat_interval_ms=15_000)
    session = Session(
        "consumer",
        "http://manager:80",
        config=config,
        clock=clock,
        make_lock=threading.Lock,
    )
    session.wake_beats = lambda: woken.append(clock.now_s)
    schedule = GroupSchedule(session)
    assert session.next_beat_s == clock.now_s + 15
    schedule.plan_commit(5.0)
    schedule.plan_beat(10.0)
    assert session.next_beat_s == clock.now_s + 5
    clock.sleep(5.0)
    assert schedule.is_commit_due(clock.now_s)
    assert not schedule.is_beat_due(clock.now_s)
    schedule.plan_commit(20.0)
    assert session.next_beat_s == clock.now_s + 5
    assert woken == []
    schedule.hurry()
    assert schedule.is_beat_due(clock.now_s)
    assert (session.next_beat_s, woken) == (clock.now_s, [clock.now_s])
