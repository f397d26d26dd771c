"""Where a workload runs: the cluster as a client's process sees it."""

from __future__ import annotations

import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.request import urlopen

from myqueue import Client, Consumer, Producer
from myqueue.transport.metadata import topic_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.acknowledged import Value
    from myqueue.transport.blocking import Transport

REPLICATION_FACTOR = 3
MESSAGE_BYTES = 100
FETCH_BYTES = 4 << 20
"""Read at once when a run is checked."""
PATIENCE_S = 30.0
"""Longest wait for the cluster to be whole."""
POLL_S = 0.05


class Place(NamedTuple):
    """One process of the cluster."""

    address: str
    pid: int


class Site:
    """Addresses and processes of a cluster, and clients for them.

    Args:
        manager: address of the manager.
        state_path: the file in which the cluster says where its processes are.
        transport: how requests of the clients travel; HTTP when left out.
    """

    def __init__(
        self, manager: str, state_path: Path, *, transport: Transport | None = None
    ) -> None:
        self.manager = manager
        self._state_path = state_path
        self._transport = transport
        self._client = Client(manager, transport=transport)
        self._numbers = itertools.count(1)

    @property
    def directory(self) -> Path:
        """Where the cluster has its data."""
        return self._state_path.parent

    def new_topic(self, workload: str) -> str:
        """Create a topic of one partition on all brokers and return its name."""
        topic = f"{workload}-{os.getpid()}-{next(self._numbers)}"
        self._client.create_topic(topic, 1, REPLICATION_FACTOR)
        return topic

    def producer(self, topic: str) -> Producer:
        """Return a new producer."""
        return Producer(topic, self.manager, transport=self._transport)

    def consumer(self, topic: str) -> Consumer:
        """Return a new consumer with its cursor at the beginning."""
        return Consumer(topic, self.manager, transport=self._transport)

    def stored(self, topic: str) -> Iterator[tuple[int, Value]]:
        """Yield offset and value of everything in the topic's partition, as the leader has it."""
        with self.consumer(topic) as consumer:
            offset = 0
            while True:
                fetched = consumer.fetch(topic, 0, offset, max_bytes=FETCH_BYTES)
                for message in fetched.messages:
                    yield message.offset, message.value
                if not fetched.messages:
                    return
                offset = fetched.next_offset

    def leader(self, topic: str) -> str:
        """Return the address of the broker that leads the topic's partition and serves."""
        found = self._client.describe_topic(topic)
        leader = topic_view(found).partitions[0].leader
        if leader and self._serves(leader, topic):
            return leader
        found_address: str = self.wait_for(
            lambda: next((one for one in self._alive() if self._serves(one, topic)), ""),
            what=f"a leader of {topic}",
        )
        return found_address

    def brokers(self) -> list[Place]:
        """Return where the brokers' processes are now."""
        state = json.loads(self._state_path.read_text())
        return [Place(place["address"], place["pid"]) for place in state["brokers"]]

    def wait_until_whole(self, topic: str) -> None:
        """Wait until all brokers are up and their replicas of the topic have the same messages."""
        self.wait_for(lambda: self._is_whole(topic), what=f"all replicas of {topic}")

    def wait_for(self, look: Callable[[], Any], *, what: str) -> Any:
        """Return the first true value of `look`.

        Raises:
            TimeoutError: there was none in time.
        """
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(POLL_S)
        raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()

    def _alive(self) -> list[str]:
        return [place.address for place in self.brokers()]

    def _is_whole(self, topic: str) -> bool:
        replicas = [self._replica(address, topic) for address in self._alive()]
        watermarks = {replica.get("high_watermark") for replica in replicas}
        leads = any(replica.get("serves") for replica in replicas)
        return leads and len(watermarks) == 1 and None not in watermarks

    def _serves(self, address: str, topic: str) -> bool:
        return bool(self._replica(address, topic).get("serves"))

    def _replica(self, address: str, topic: str) -> dict[str, Any]:
        """Return what a broker says of its replica; nothing when it is down or has none."""
        try:
            with urlopen(f"{address}/partitions?topic={topic}", timeout=2) as answer:  # noqa: S310 - http, our own cluster
                replicas: list[dict[str, Any]] = json.load(answer)["partitions"]
        except OSError:
            return {}
        return replicas[0] if replicas else {}


def message(number: int, origin: int = 0) -> bytes:
    """Return a message of 100 bytes that no other number and origin give."""
    return f"{origin:04d}/{number:012d}/".encode().ljust(MESSAGE_BYTES, b".")
