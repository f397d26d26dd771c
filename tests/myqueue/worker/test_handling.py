from __future__ import annotations

import threading
import time
from queue import Queue
from typing import Any

import pytest

from myqueue import Producer, Worker
from myqueue.contract.errors import InvalidRequest, TopicDoesNotExist
from myqueue.results import Delivery, Settlement
from myqueue.testing.queue import InMemoryQueue

LONGEST_S = 20.0


def filled(queue: InMemoryQueue, *values: str) -> None:
    with Producer("jobs", queue.address) as producer:
        producer.produce_many("jobs", values, partition=0)


def run_until(worker: Worker, is_done: Any) -> None:
    """Run a worker in a thread until something holds."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    end_s = time.monotonic() + LONGEST_S
    while not is_done() and time.monotonic() < end_s:
        time.sleep(0.005)
    worker.finish()
    thread.join(LONGEST_S)
    assert is_done()
    assert not thread.is_alive()


def test_what_returns_is_acknowledged_and_what_raises_comes_again_and_dies(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with InMemoryQueue() as queue:
        filled(queue, "good", "bad")
        tries = []
        with Worker("jobs", queue.address, "g", delivery_limit=3) as worker:

            @worker.handler(concurrency=2, retry_delay=0.01)
            def handle(delivery: Delivery) -> None:
                tries.append((delivery.text, delivery.delivery_count))
                if delivery.text == "bad":
                    raise ValueError("no such customer")

            run_until(worker, lambda: "jobs.dead" in worker.list_topics())
        assert sorted(tries) == [("bad", 1), ("bad", 2), ("bad", 3), ("good", 1)]
        assert [one.text for one in queue.messages("jobs.dead")] == ["bad"]
    assert "offset 1, delivery 2; it comes again in 0.0 s" in caplog.text
    assert "ValueError: no such customer" in caplog.text


def test_so_many_are_at_work_at_once_and_what_is_at_work_is_ended_first() -> None:
    together = threading.Barrier(3)
    done = []
    with InMemoryQueue() as queue:
        filled(queue, *"abc")
        worker = Worker("jobs", queue.address, "g")

        @worker.handler(concurrency=3)
        def handle(delivery: Delivery) -> None:
            worker.finish()
            together.wait(LONGEST_S)
            time.sleep(0.05)
            done.append(delivery.text)

        worker.run()
        assert sorted(done) == ["a", "b", "c"]
        assert worker.receive() == []
        worker.close()


def test_work_that_takes_long_is_kept_out_of_others_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    extended: Queue[str] = Queue()
    with InMemoryQueue() as queue:
        filled(queue, "slow")
        with Worker("jobs", queue.address, "g", visibility=0.3) as worker:
            extend = worker.extend

            def noted(*deliveries: Any) -> list[Settlement]:
                # Whether it came in time depends on the machine.
                extended.put(deliveries[0].receipt)
                return extend(*deliveries)

            monkeypatch.setattr(worker, "extend", noted)

            @worker.handler
            def handle(delivery: Delivery) -> None:
                worker.finish()
                assert extended.get(timeout=LONGEST_S) == delivery.receipt
                extended.put("it was")

            worker.run()
        assert "it was" in extended.queue


def test_a_worker_that_is_closed_ends(caplog: pytest.LogCaptureFixture) -> None:
    with InMemoryQueue() as queue:
        filled(queue, "x")
        worker = Worker("jobs", queue.address, "g", visibility=60)

        @worker.handler
        def handle(delivery: Delivery) -> None:
            worker.close()

        worker.run()
    assert "what became of a message did not reach the cluster" in caplog.text


def test_an_error_of_the_cluster_ends_it() -> None:
    with InMemoryQueue() as queue:
        filled(queue, "x")
        with Worker("jobs", queue.address, "g") as worker:
            worker.handler(lambda delivery: None)
            worker.delete_topic("jobs")
            with pytest.raises(TopicDoesNotExist, match="jobs"):
                worker.run()


def test_a_handler_is_a_function_and_is_needed() -> None:
    with InMemoryQueue() as queue:
        filled(queue, "x")
        with Worker("jobs", queue.address, "g") as worker:
            for call in (worker.run, worker.finish):
                with pytest.raises(InvalidRequest, match="has no handler"):
                    call()

            async def handle(delivery: Delivery) -> None:
                """Do nothing."""

            with pytest.raises(InvalidRequest, match="AsyncWorker takes coroutine functions"):
                worker.handler(handle)
            with pytest.raises(InvalidRequest, match="concurrency"):
                worker.handler(concurrency=0)
