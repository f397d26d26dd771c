from __future__ import annotations

import random

import pytest

from manager_app.browsing.lanes import (
    Decoded,
    Lane,
    OffsetRange,
    Scanned,
    decode_batches,
    next_of,
)
from myqueue.contract.records import Record, encode_batch, frame_batches, placeholder_batch


def records(first, count, *, every=10):
    return [
        Record(f"m{offset}", timestamp=offset * every) for offset in range(first, first + count)
    ]


def decode(batches, *, begin=0, end, passes=lambda _: True, room=1 << 20):
    scanned = Scanned()
    found = decode_batches(
        frame_batches(batches),
        begin=begin,
        end=end,
        passes=passes,
        scanned=scanned,
        room_bytes=room,
    )
    return found, scanned


def test_messages_of_batches_have_their_offsets():
    found, scanned = decode(
        [(5, encode_batch(records(5, 2))), (7, encode_batch(records(7, 1)))], end=8
    )
    assert [(at, one.value) for at, one in found.passed] == [(5, "m5"), (6, "m6"), (7, "m7")]
    assert (found.first, found.reached, scanned.messages) == (0, 8, 3)


def test_what_does_not_pass_is_looked_at_and_not_kept():
    found, scanned = decode(
        [(0, encode_batch(records(0, 10)))], end=10, passes=lambda one: one.value == "m7"
    )
    assert [at for at, _ in found.passed] == [7]
    assert scanned.messages == 10


@pytest.mark.parametrize("damaged", [b"QBxx", placeholder_batch(3, 1_000)])
def test_a_batch_that_nobody_can_decode_is_a_gap_and_stepped_over(damaged):
    batches = [
        (0, encode_batch(records(0, 2))),
        (2, damaged),
        (5, encode_batch(records(5, 1))),
    ]
    found, _ = decode(batches, end=6)
    assert [at for at, _ in found.passed] == [0, 1, 5]
    [(begin, end, why)] = found.gaps
    assert (begin, end, found.reached) == (2, 5, 6)
    assert why


def test_a_flipped_byte_is_a_gap():
    batch = bytearray(encode_batch(records(0, 3)))
    batch[-1] ^= 1
    found, _ = decode([(0, bytes(batch))], end=3)
    assert found.passed == []
    assert found.gaps[0][:2] == (0, 3)


def test_decoding_ends_where_there_is_no_more_room_but_not_before_the_first_batch():
    large = [(at, encode_batch([Record("x" * 1_000)])) for at in range(4)]
    found, scanned = decode(large, end=4, room=2_500)
    assert (len(found.passed), found.reached) == (2, 2)
    assert scanned.size_bytes < 2_500
    found, _ = decode(large, end=4, room=1)
    assert (len(found.passed), found.reached) == (1, 1)


def read(lane, log, window, *, answers=3):
    """Answer what a lane asks for with at most so many batches of three."""
    while lane.is_starved:
        at = lane.next_offset(window)
        first = at // 3 * 3
        reached = min(first + 3 * answers, len(log))
        lane.take(Decoded([(one, log[one]) for one in range(first, reached)], [], first, reached))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("window", [1, 2, 7, 100])
def test_each_lane_gives_every_message_once_and_in_order(backwards, window):
    log = records(0, 20)
    lane = Lane(0, OffsetRange(2, 20), 17 if backwards else 4, backwards=backwards)
    given = []
    while not (lane.is_done and not lane.found):
        read(lane, log, window)
        while lane.found:
            assert lane.resume_at == lane.found[0][0] + backwards
            given.append(lane.found.popleft()[0])
    assert given == ([*range(16, 1, -1)] if backwards else [*range(4, 20)])


@pytest.mark.parametrize("backwards", [False, True])
def test_several_lanes_are_merged_by_time_as_sorting_would(backwards):
    dice = random.Random(5)
    logs = [
        [Record(f"{lane}/{at}", timestamp=time) for at, time in enumerate(sorted(times))]
        for lane, times in enumerate([dice.sample(range(10_000), 30) for _ in range(4)])
    ]
    lanes = [
        Lane(at, OffsetRange(0, 30), 30 if backwards else 0, backwards=backwards) for at in range(4)
    ]
    given = []
    while True:
        for lane in lanes:
            read(lane, logs[lane.partition], 3)
        found = next_of(lanes, backwards=backwards)
        if found is None:
            break
        given.append(found.record)
    every = [one for log in logs for one in log]
    assert given == sorted(every, key=lambda one: one.timestamp, reverse=backwards)


def test_what_came_after_the_range_was_asked_for_is_not_lost():
    lane = Lane(0, OffsetRange(0, 2), 0)
    log = records(0, 4)
    lane.take(Decoded([*enumerate(log)], [], 0, 4))
    assert [at for at, _ in lane.found] == [0, 1, 2, 3]
    assert lane.is_done


@pytest.mark.parametrize(("asked", "position"), [(0, 5), (7, 7), (99, 9)])
def test_a_lane_begins_inside_of_what_there_is(asked, position):
    assert Lane(0, OffsetRange(5, 9), asked).position == position


def test_a_gap_is_told_as_far_as_it_was_asked_for():
    lane = Lane(3, OffsetRange(0, 9), 2)
    lane.take(Decoded([], [(0, 4, "damaged")], 0, 4))
    assert [(gap.partition, gap.begin, gap.end, gap.why) for gap in lane.gaps] == [
        (3, 2, 4, "damaged")
    ]
    assert lane.position == 4


def test_a_silent_lane_is_neither_read_nor_done():
    lane = Lane(0, OffsetRange(0, 9), 9, backwards=True)
    lane.next_offset(3)
    lane.silence("no answer")
    assert not lane.is_starved
    assert not lane.is_inside_window
    assert lane.resume_at == 9
