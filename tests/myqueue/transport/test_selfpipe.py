from __future__ import annotations

from myqueue.transport.connection import wait_ready
from myqueue.transport.selfpipe import SelfPipe


def woken(waker: SelfPipe) -> bool:
    """Tell whether the descriptor is readable, without waiting."""
    import select

    return bool(select.select([waker.fileno()], [], [], 0)[0])


def test_a_wake_up_before_the_wait_is_not_lost() -> None:
    waker = SelfPipe()
    waker.wake()
    waker.wake()
    assert waker.woken
    assert wait_ready([], 30.0, also=waker.fileno()) == []
    assert woken(waker)
    waker.clear()
    assert not waker.woken
    assert not woken(waker)
    waker.clear()
    waker.wake()
    assert woken(waker)
    waker.close()
