"""Control frames go first, and nothing waits without a bound."""

from __future__ import annotations

from http_base.memory_budget import MemoryBudget, MemoryShare
from raft_app.transport.frames import EncodedFrame
from raft_app.transport.send_queue import SendQueue


def frame(size: int, name: bytes = b"") -> EncodedFrame:
    return EncodedFrame(size, (name,))


def queue() -> SendQueue:
    return SendQueue(max_control_bytes=100, max_append_bytes=1_000, share=MemoryBudget().queues)


def test_control_frames_overtake_appends_and_each_kind_keeps_its_order():
    waiting = queue()
    appends = [frame(10, b"a1"), frame(10, b"a2")]
    control = [frame(10, b"c1"), frame(10, b"c2")]
    for one, two in zip(appends, control, strict=True):
        assert waiting.put_append(one)
        assert waiting.put_control(two)
    assert waiting.take(1_000) == control + appends
    assert waiting.take(1_000) == []


def test_each_queue_has_its_own_bound():
    waiting = queue()
    assert waiting.put_append(frame(1_000))
    assert not waiting.put_append(frame(1))
    assert waiting.put_control(frame(100))
    assert not waiting.put_control(frame(1))
    assert waiting.size_bytes == 1_100


def test_what_was_taken_makes_room():
    waiting = queue()
    assert waiting.put_append(frame(900, b"first"))
    assert not waiting.put_append(frame(200))
    assert waiting.take(1) == [frame(900, b"first")]
    assert waiting.put_append(frame(200))
    assert waiting.size_bytes == 200


def test_about_as_much_as_asked_for_is_taken_and_at_least_one():
    waiting = queue()
    for number in range(5):
        waiting.put_append(frame(100, bytes([number])))
    assert len(waiting.take(1)) == 1
    assert len(waiting.take(150)) == 2
    assert len(waiting.take(1_000)) == 2


def test_clearing_tells_how_many_were_dropped():
    waiting = queue()
    waiting.put_control(frame(1))
    waiting.put_append(frame(1))
    waiting.put_append(frame(1))
    assert waiting.clear() == (1, 2)
    assert waiting.size_bytes == 0
    assert waiting.take(10) == []


def test_the_queues_of_all_peers_share_one_bound():
    share = MemoryShare("queues", 1_000)
    one, two = (
        SendQueue(max_control_bytes=100, max_append_bytes=1_000, share=share) for _ in range(2)
    )
    while one.put_append(frame(10)):
        pass
    assert one.size_bytes == share.used_bytes == 500
    assert two.put_append(frame(200))
    assert not two.put_append(frame(100))
    assert two.put_control(frame(100))  # votes and heartbeats have their own bound alone
    assert share.used_bytes == 800
    one.take(300)
    one.clear()
    assert two.put_append(frame(100))
    two.clear()
    assert share.used_bytes == 0
