from __future__ import annotations

import threading

import pytest
from django.db import connection, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from http_base.worker_threads import WorkerThreads

WAIT_S = 30.0


@pytest.fixture
def threads():
    threads = WorkerThreads(2, name="worker")
    yield threads
    threads.close()


@pytest.fixture(autouse=True)
def really_closed(monkeypatch):
    """Let Django close a connection to a database in memory like any other."""
    monkeypatch.setattr(DatabaseWrapper, "is_in_memory_db", lambda self: False)


def look():
    """Look into the database; return the thread, and its connection both as Django's and bare."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return threading.current_thread(), connections["default"], connection.connection


def hold(threads):
    """Keep a thread busy; return its event, when it has begun."""
    begun, ending = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert ending.wait(WAIT_S)
        return threading.current_thread()

    held = threads.submit(wait)
    assert begun.wait(WAIT_S)
    return held, ending


@pytest.mark.django_db(transaction=True)
def test_the_next_call_finds_the_connection_of_the_one_before(threads):
    first = threads.submit(look).result(WAIT_S)
    held, ending = hold(threads)
    second = threads.submit(look).result(WAIT_S)
    assert threads.submit(look).result(WAIT_S) == second != first
    ending.set()
    assert held.result(WAIT_S) is first[0]


@pytest.mark.django_db(transaction=True)
def test_a_thread_without_calls_ends_and_closes_its_connection():
    threads = WorkerThreads(2, name="worker", idle_s=0.01)
    thread, wrapper, _ = threads.submit(look).result(WAIT_S)
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert wrapper.connection is None
    assert threads.submit(look).result(WAIT_S)[0] is not thread
    threads.close()


@pytest.mark.django_db(transaction=True)
def test_closing_ends_the_threads_and_their_connections(threads):
    thread, wrapper, _ = threads.submit(look).result(WAIT_S)
    held, ending = hold(threads)
    ending.set()
    threads.close()
    assert held.done()
    assert not thread.is_alive()
    assert wrapper.connection is None
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(look)


def test_what_waits_for_a_thread_comes_in_order_unless_it_is_cancelled(threads):
    held = [hold(threads) for _ in range(2)]
    done: list[int] = []
    waiting = [threads.submit(done.append, number) for number in range(4)]
    assert waiting[1].cancel()
    held[0][1].set()
    for future in (waiting[0], waiting[2], waiting[3]):
        future.result(WAIT_S)
    assert done == [0, 2, 3]
    held[1][1].set()


def test_closing_drops_what_waits(threads):
    held = [hold(threads) for _ in range(2)]
    waiting = threads.submit(pytest.fail, "it must not run")
    closing = threading.Thread(target=threads.close)
    closing.start()
    while not waiting.done():
        assert closing.is_alive()
    for _, ending in held:
        ending.set()
    closing.join(WAIT_S)
    assert waiting.cancelled()


def test_an_error_comes_back_and_its_thread_goes_on(threads):
    def fail():
        raise LookupError(threading.current_thread().name)

    for _ in range(2):
        with pytest.raises(LookupError, match="worker_0"):
            threads.submit(fail).result(WAIT_S)
