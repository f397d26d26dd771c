from __future__ import annotations

import asyncio
import threading
import weakref
from concurrent.futures import FIRST_EXCEPTION, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress

import pytest

from myqueue.producer.futures import DeliveryFuture, Outcome


def test_a_settled_future_has_its_result() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    assert not future.done()
    with pytest.raises(FutureTimeoutError):
        future.result(timeout=0)
    future.settle(5)
    assert (future.done(), future.result(), future.exception()) == (True, 5, None)


def test_a_failed_future_raises() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    future.fail(ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        future.result()
    assert isinstance(future.exception(), ZeroDivisionError)


def test_a_failure_counts_as_told_once_it_was_taken() -> None:
    for take in (DeliveryFuture[int].result, DeliveryFuture[int].exception):
        for early in (True, False):
            future: DeliveryFuture[int] = DeliveryFuture()
            with pytest.raises(FutureTimeoutError):
                take(future, 0)
            assert not future.is_reported
            timer = threading.Timer(0.0 if early else 0.02, future.fail, [ZeroDivisionError("x")])
            timer.start()
            if early:
                timer.join()
            with suppress(ZeroDivisionError):
                take(future, 10)
            assert future.is_reported
            timer.join()


def test_a_failure_does_not_keep_its_future() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    future.fail(ZeroDivisionError("x"))
    gone = weakref.ref(future)
    with pytest.raises(ZeroDivisionError):
        future.result()
    del future
    assert gone() is None


def test_those_who_wait_are_woken() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(future.result(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    future.settle(7)
    for thread in threads:
        thread.join()
    assert found == [7] * 4


def test_callbacks_are_called_once_whenever_they_were_added() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    called: list[int] = []
    future.add_done_callback(lambda done: called.append(done.result()))
    future.settle(1)
    future.add_done_callback(lambda done: called.append(done.result() + 1))
    assert called == [1, 2]


def test_it_cannot_be_cancelled() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    assert not future.cancel()
    assert not future.cancelled()
    assert future.running()


def test_the_standard_library_waits_for_it() -> None:
    futures: list[DeliveryFuture[int]] = [DeliveryFuture() for _ in range(3)]
    timer = threading.Timer(0.01, lambda: [future.settle(1) for future in futures[1:]])
    timer.start()
    futures[0].settle(0)
    done, left = wait(futures, timeout=10)
    assert (len(done), len(left)) == (3, 0)
    timer.join()
    failed: DeliveryFuture[int] = DeliveryFuture()
    timer = threading.Timer(0.01, failed.fail, [ZeroDivisionError()])
    timer.start()
    done, _ = wait([failed], timeout=10, return_when=FIRST_EXCEPTION)
    assert done == {failed}
    timer.join()


async def test_an_event_loop_waits_for_it() -> None:
    future: DeliveryFuture[int] = DeliveryFuture()
    wrapped = asyncio.wrap_future(future)
    future.settle(3)
    assert await wrapped == 3


def test_it_has_nothing_else() -> None:
    with pytest.raises(AttributeError):
        _ = DeliveryFuture().other  # type: ignore[attr-defined]


def test_a_caller_waits_for_the_outcome_of_its_message() -> None:
    outcome: Outcome[int] = Outcome()
    timer = threading.Timer(0.02, outcome.settle, [5])
    timer.start()
    assert outcome.wait() == 5
    timer.join()


def test_a_caller_is_told_the_failure_of_its_message() -> None:
    outcome: Outcome[int] = Outcome()
    outcome.fail(ZeroDivisionError("x"))
    assert outcome.is_reported
    with pytest.raises(ZeroDivisionError):
        outcome.wait()


def test_a_failure_does_not_keep_its_outcome() -> None:
    error = ZeroDivisionError("x")

    class Kept(Outcome[int]):
        """One that can be referred to weakly."""

    outcome = Kept()
    outcome.fail(error)
    gone = weakref.ref(outcome)
    with pytest.raises(ZeroDivisionError):
        outcome.wait()
    del outcome
    assert gone() is None
