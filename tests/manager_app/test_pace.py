from __future__ import annotations

from manager_app.pace import Pace


def test_a_move_begins_once_those_before_it_have_had_their_time():
    pace = Pace()
    assert pace.allows(100.0)
    pace.count(500, now_s=100.0, bytes_per_second=100)
    assert not pace.allows(104.9)
    assert pace.allows(105.0)
    pace.count(1_000, now_s=200.0, bytes_per_second=100)
    pace.count(1_000, now_s=200.0, bytes_per_second=100)
    assert not pace.allows(219.9)
    pace.reset()
    assert pace.allows(200.0)
