from __future__ import annotations

import gc
import threading
import time

import pytest

from myqueue.heartbeats import Heartbeats


class Client:
    def __init__(self, *, fails: bool = False) -> None:
        self.beaten = threading.Event()
        self.due_s = 0.0
        self.fails = fails

    def next_beat_s(self) -> float:
        return self.due_s

    def beat(self) -> None:
        self.due_s = time.monotonic() + 1_000
        self.beaten.set()
        if self.fails:
            raise ZeroDivisionError("a bug")


def test_one_thread_beats_for_all() -> None:
    beats = Heartbeats()
    clients = [Client(), Client(fails=True), Client()]
    for client in clients:
        beats.join(client)
    for client in clients:
        assert client.beaten.wait(10)
    thread = beats._thread
    assert thread is not None
    assert thread.daemon
    for client in clients:
        beats.leave(client)
    thread.join(10)
    assert not thread.is_alive()


def test_the_thread_starts_again_for_a_new_client() -> None:
    beats = Heartbeats()
    for _ in range(2):
        client = Client()
        beats.join(client)
        assert client.beaten.wait(10)
        thread = beats._thread
        beats.leave(client)
        assert thread is not None
        thread.join(10)


def test_a_client_that_was_dropped_beats_no_more() -> None:
    beats = Heartbeats()
    client = Client()
    beats.join(client)
    assert client.beaten.wait(10)
    thread = beats._thread
    assert thread is not None
    del client
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_after_a_fork_there_is_no_thread() -> None:
    beats = Heartbeats()
    client = Client()
    beats.join(client)
    beats.leave(client)
    beats.restart_after_fork()
    assert beats._thread is None
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
