from __future__ import annotations

import gc
import threading
import time

import pytest

from myqueue.transport.heartbeats import IDLE_THREADS_MAX, Heartbeats


class Client:
    held = threading.Event()
    """Set: no beat hangs."""
    held.set()

    def __init__(self, *, fails: bool = False) -> None:
        self.beaten = threading.Event()
        self.due_s = 0.0
        self.fails = fails

    def next_beat_s(self) -> float:
        return self.due_s

    def beat(self) -> None:
        self.due_s = time.monotonic() + 1_000
        self.beaten.set()
        self.held.wait(30)
        if self.fails:
            raise ZeroDivisionError("a bug")


def end(beats: Heartbeats) -> None:
    """Wait until all threads have ended."""
    for thread in list(beats._threads):
        thread.join(10)
        assert not thread.is_alive()


def test_two_threads_beat_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myqueue.transport.heartbeats.BROKEN_PAUSE_S", 0)
    beats = Heartbeats()
    clients = [Client() for _ in range(20)] + [Client(fails=True), Client()]
    for client in clients:
        beats.join(client)
        assert client.beaten.wait(10)
    # A thread that was started while others were about to wait again finds out, and ends.
    deadline_s = time.monotonic() + 10
    while len(beats._threads) > IDLE_THREADS_MAX + 1:
        assert time.monotonic() < deadline_s, f"{len(beats._threads)} threads stay"
        time.sleep(0.01)
    assert beats._threads
    assert all(thread.daemon for thread in set(beats._threads))
    for client in clients:
        beats.leave(client)
    end(beats)


def test_clients_whose_manager_hangs_hold_up_nobody() -> None:
    beats, held = Heartbeats(), threading.Event()
    stuck = [Client() for _ in range(5)]
    for client in stuck:
        client.held = held
        beats.join(client)
    for client in stuck:
        assert client.beaten.wait(10)
    other = Client()
    beats.join(other)
    try:
        assert other.beaten.wait(10)
    finally:
        held.set()
        for client in (*stuck, other):
            beats.leave(client)
    end(beats)


def test_a_client_that_is_being_beaten_is_not_beaten_twice_at_once() -> None:
    class Counting(Client):
        beats = 0

        def beat(self) -> None:
            self.beats += 1
            super().beat()
            self.due_s = 0.0

    beats, held = Heartbeats(), threading.Event()
    client, other = Counting(), Client()
    client.held = held
    beats.join(client)
    assert client.beaten.wait(10)
    beats.join(other)
    assert other.beaten.wait(10)
    assert client.beats == 1
    beats.leave(client)
    beats.leave(other)
    held.set()
    end(beats)


def test_the_thread_starts_again_for_a_new_client() -> None:
    beats = Heartbeats()
    for _ in range(2):
        client = Client()
        beats.join(client)
        assert client.beaten.wait(10)
        beats.leave(client)
        end(beats)


def test_a_client_that_was_dropped_beats_no_more() -> None:
    beats = Heartbeats()
    client = Client()
    beats.join(client)
    assert client.beaten.wait(10)
    del client
    gc.collect()
    end(beats)


def test_after_a_fork_there_is_no_thread() -> None:
    beats = Heartbeats()
    client = Client()
    beats.join(client)
    beats.leave(client)
    beats.restart_after_fork()
    assert not beats._threads
    assert len(beats._clients) == 0


def test_a_hurried_client_does_not_wait() -> None:
    beats = Heartbeats()
    client = Client()
    client.due_s = time.monotonic() + 1_000
    beats.join(client)
    assert not client.beaten.is_set()
    client.due_s = 0.0
    beats.hurry()
    assert client.beaten.wait(10)
    beats.leave(client)


def test_a_thread_that_cannot_be_started_is_tried_again(
    one_thread_fails: list[threading.Thread],
) -> None:
    beats = Heartbeats()
    first, second = Client(), Client()
    with pytest.raises(RuntimeError, match="new thread"):
        beats.join(first)
    beats.join(second)
    assert second.beaten.wait(10)
    for client in (first, second):
        beats.leave(client)
    assert one_thread_fails
