"""Messages one at a time from many programs that make HTTP calls of their own."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

from benchmarks.acknowledged import Acknowledged
from benchmarks.floor import FloorKind
from benchmarks.measurement import Figure, Measurement, measure
from benchmarks.message import message
from benchmarks.target import Target, at_least, at_most
from benchmarks.workloads.http_client import run_clients
from benchmarks.workloads.plain_http import PlainHttp

if TYPE_CHECKING:
    from benchmarks.peers.queuesite import Site

_TARGETS: dict[int, tuple[Target, ...]] = {
    16: (at_least(Figure.PER_SECOND, 5_000), at_most(Figure.P50_MS, 3.5)),
}


class HttpProduce:
    """Each client has a registration and a connection, and sends one message after the other."""

    runs = 3
    warms_up = True
    figures = (Figure.PER_SECOND, Figure.P50_MS, Figure.P99_MS)
    floor: FloorKind | None = FloorKind.APPEND_4K

    def __init__(self, clients: int) -> None:
        """Use `clients` clients, at least 1."""
        self.name = f"http_{clients}"
        self.summary = f"{clients} plain HTTP client(s), JSON, straight to the leader"
        self.targets = _TARGETS.get(clients, ())
        self._clients = clients

    def prepare(self, site: Site) -> None:
        """Remember the cluster; each run has a topic of its own."""
        self._site = site

    def run(self, seconds: float) -> Measurement:
        """Send for some seconds."""
        self._topic = self._site.new_topic(self.name)
        self._acknowledged = Acknowledged()
        leader = self._site.leader(self._topic)
        host = urlsplit(leader).netloc
        makers = [partial(_request, head, client) for client, head in enumerate(self._heads(host))]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            started = time.perf_counter()
            clients = runner.run(run_clients(leader, makers, seconds))
            ended = time.perf_counter()
        latencies_s = []
        for number, client in enumerate(clients):
            for position, (body, latency_s) in enumerate(client.answers):
                latencies_s.append(latency_s)
                self._acknowledged.add(json.loads(body)["base_offset"], [message(position, number)])
        return measure(messages=len(latencies_s), seconds=ended - started, latencies_s=latencies_s)

    def check(self) -> int:
        """Read everything back."""
        return self._acknowledged.compare(self._site.stored(self._topic))

    def close(self) -> None:
        """Keep nothing."""

    def _heads(self, host: str) -> list[tuple[bytes, bytes]]:
        """Register each client; return what its requests begin with: the head and the body."""
        manager = PlainHttp(self._site.manager)
        heads = []
        for _ in range(self._clients):
            registered = manager.post("/producer/register", {"topic": self._topic})
            head = (
                f"POST /producer/produce HTTP/1.1\r\nHost: {host}\r\n"
                f"Authorization: Bearer {registered['token']}\r\n"
                "Content-Type: application/json\r\nContent-Length: "
            )
            fields = {
                "topic": self._topic,
                "partition": 0,
                "producer_id": registered["producer_id"],
                "message": "",
            }
            heads.append((head.encode(), json.dumps(fields).encode()[:-2]))
        manager.close()
        return heads


def _request(begin: tuple[bytes, bytes], client: int, number: int) -> bytes:
    head, body = begin
    body += message(number, client) + b'"}'
    return b"%b%d\r\n\r\n%b" % (head, len(body), body)
