from __future__ import annotations

import threading

from myqueue.contract.http1 import Request
from myqueue.testing.queue import InMemoryQueue
from myqueue.testing.transport import MemoryTransport
from myqueue.transport.blocking import read_body
from myqueue.transport.selfpipe import SelfPipe


def held(queue: InMemoryQueue, wait_ms: int) -> Request:
    queue._api.state.clients[7] = ("consumer", "logs")
    query: dict[str, str | int] = {
        "topic": "logs",
        "partition": 0,
        "consumer_id": 7,
        "wait_ms": wait_ms,
    }
    return Request("GET", "/size", query=query, token="token-7")


def test_what_waits_for_nothing_is_answered_at_once() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        transport = MemoryTransport(queue)
        answer = transport.request(queue.address, Request("GET", "/topics"), timeout_s=5)
        assert read_body(answer)["topics"] == ["logs"]
        exchange = transport.begin(queue.address, Request("GET", "/topics"), timeout_s=5)
        assert transport.wait([exchange], timeout_s=None) == [exchange]


def test_a_held_request_is_answered_after_a_change_or_in_time() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        transport = MemoryTransport(queue)
        exchange = transport.begin(queue._broker, held(queue, 30_000), timeout_s=60)
        short = transport.begin(queue._broker, held(queue, 20), timeout_s=60)
        assert exchange.answer(0) is None
        assert transport.wait([exchange, short], timeout_s=30) == [short]
        assert read_body(short.answer())["size"] == 0
        queue._api.state.topics["logs"][0].put("x")
        assert read_body(exchange.answer())["size"] == 1
        exchange.cancel()


def test_a_waker_ends_the_wait() -> None:
    with InMemoryQueue({"logs": 1}) as queue:
        transport, waker = MemoryTransport(queue), SelfPipe()
        exchange = transport.begin(queue._broker, held(queue, 30_000), timeout_s=60)
        for exchanges in ([exchange], []):
            timer = threading.Timer(0.01, waker.wake)
            timer.start()
            assert transport.wait(exchanges, timeout_s=None, waker=waker) == []
            timer.join()
            waker.clear()
        waker.close()
