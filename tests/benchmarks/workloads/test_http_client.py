from __future__ import annotations

import time

import pytest

from benchmarks.workloads.http_client import HttpClient
from benchmarks.workloads.plain_http import HttpFailure


class TransportTwin:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def connected(seconds: float = 60.0) -> tuple[HttpClient, TransportTwin]:
    client = HttpClient(lambda number: b"request %d" % number, time.perf_counter() + seconds)
    transport = TransportTwin()
    client.connection_made(transport)
    return client, transport


async def test_the_next_request_follows_a_complete_answer():
    client, transport = connected()
    for data in (answer(b"first")[:20], answer(b"first")[20:-1], b"t"):
        assert transport.written == [b"request 0"]
        client.data_received(data)
    assert transport.written == [b"request 0", b"request 1"]
    assert [body for body, _ in client.answers] == [b"first"]


async def test_no_request_starts_after_the_deadline():
    client, transport = connected(seconds=0)
    client.data_received(answer(b"last"))
    await client.done
    assert transport.written == [b"request 0"]


@pytest.mark.parametrize(
    "data", [answer(b"{}", b"503 Service Unavailable"), b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_what_is_no_success_ends_the_client(data):
    client, _ = connected()
    client.data_received(data)
    with pytest.raises(HttpFailure):
        await client.done


async def test_a_lost_connection_ends_the_client():
    client, _ = connected()
    client.connection_lost(None)
    with pytest.raises(HttpFailure, match="closed"):
        await client.done
