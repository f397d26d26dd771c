"""Threads that each wait for their message, over real sockets."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from myqueue import ClientConfig, Producer
from tests.myqueue.http_twin import HttpCluster

QUICK = ClientConfig(retry_backoff_ms=1, retry_backoff_max_ms=5, avoid_ms=1)
CALLERS = 8
ROUNDS = 15


@pytest.mark.parametrize("chaos", [False, True])
def test_each_message_of_many_callers_is_stored_once(
    http_cluster: HttpCluster, *, chaos: bool
) -> None:
    http_cluster.twin.create("logs", 2)

    def call(producer: Producer, caller: int) -> list[str]:
        """Send in every way there is, and return what was acknowledged."""
        chance, sent = random.Random(caller), []
        for number in range(ROUNDS):
            value, partition = f"{caller}-{number}", chance.randrange(2)
            match chance.randrange(8):
                case 0:
                    producer.send("logs", value, partition=partition).result(30)
                case 1:
                    producer.produce_many("logs", [value], partition=partition)
                case _:
                    producer.enqueue("logs", value, partition=partition)
            sent.append(value)
        return sent

    with Producer("logs", http_cluster.address, config=QUICK) as producer:
        producer.enqueue("logs", "first", partition=0)
        http_cluster.twin.chaos = random.Random(3) if chaos else None
        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(call, producer, caller) for caller in range(CALLERS)]
            sent = [value for one in calls for value in one.result(60)]
        http_cluster.twin.chaos = None
    stored = [str(value) for one in http_cluster.twin.topics["logs"] for value in one.values]
    assert sorted(stored) == sorted(["first", *sent])
