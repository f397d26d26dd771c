from __future__ import annotations

from myqueue.producer.gathering import HOLD_S_MAX, RESTS, SHARE_OF_ROUND_TRIP, Gathering

TOOK_S = 0.002
"""A round trip."""


def begin(gathering: Gathering, woken: int, waiting: int = 0) -> float | None:
    """Begin a hold at the time 0, and return when it ends."""
    gathering.begin(woken, waiting, took_s=TOOK_S, now_s=0.0)
    return gathering.until_s


def come(gathering: Gathering, callers: int, waiting: int = 0) -> None:
    """Have so many callers come back, behind those that wait."""
    for number in range(callers):
        gathering.came(waiting + number + 1)


def rest(gathering: Gathering, woken: int) -> int:
    """Return for how many batches there is no hold."""
    batches = 0
    while begin(gathering, woken) is None:
        batches += 1
    return batches


def test_all_who_were_woken_are_waited_for_beside_those_who_wait() -> None:
    gathering = Gathering()
    assert begin(gathering, 8, waiting=8) == TOOK_S * SHARE_OF_ROUND_TRIP
    come(gathering, 7, waiting=8)
    assert gathering.until_s is not None
    come(gathering, 1, waiting=15)
    assert gathering.until_s is None
    assert begin(gathering, 16) is not None, "it was worth it"


def test_a_caller_alone_is_not_waited_for() -> None:
    assert begin(Gathering(), 1) is None
    assert begin(Gathering(), 1, waiting=15) is None
    assert begin(Gathering(), 0, waiting=15) is None


def test_a_hold_is_short_however_long_the_answer_took() -> None:
    gathering = Gathering()
    gathering.begin(2, 0, took_s=60.0, now_s=1.0)
    assert gathering.until_s == 1.0 + HOLD_S_MAX


def test_a_hold_ends_with_its_time() -> None:
    gathering = Gathering()
    until_s = begin(gathering, 4)
    assert until_s is not None
    assert not gathering.expire(3, until_s - 1e-6)
    assert gathering.expire(3, until_s)
    assert gathering.until_s is None
    assert gathering.expire(3, until_s), "there is none any more"


def test_callers_that_do_not_come_back_are_waited_for_more_and_more_rarely() -> None:
    gathering = Gathering()
    rests = []
    for _ in range(12):
        rests.append(rest(gathering, woken=16))
        gathering.expire(0, TOOK_S)
    first, most = RESTS
    assert rests == [0, *(min(first << number, most) for number in range(11))]
    assert rests[-1] == rests[-2] == most


def test_as_many_as_came_are_waited_for_until_more_are_tried_again() -> None:
    gathering = Gathering()
    begin(gathering, 16)
    come(gathering, 15)
    gathering.expire(15, TOOK_S)
    for _ in range(RESTS[0]):
        begin(gathering, 15, waiting=1)
        come(gathering, 13, waiting=1)
        assert gathering.until_s is not None
        come(gathering, 1, waiting=14)
        assert gathering.until_s is None, "15 are here, and no more came in time"
    begin(gathering, 15, waiting=1)
    come(gathering, 14, waiting=1)
    assert gathering.until_s is not None, "16 may come by now"
    come(gathering, 1, waiting=15)
    assert gathering.until_s is None
    begin(gathering, 16)
    gathering.expire(0, TOOK_S)
    assert rest(gathering, woken=16) == RESTS[0], "all had come meanwhile"


def test_nothing_is_learnt_of_a_hold_that_ended_otherwise() -> None:
    gathering = Gathering()
    begin(gathering, 4)
    gathering.stop()
    assert gathering.until_s is None
    assert begin(gathering, 4) is not None
