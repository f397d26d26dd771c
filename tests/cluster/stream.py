"""An endless stream of unique values, each remembered as acknowledged, refused or unknown."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from myqueue import Producer
from myqueue.contract.errors import QueueError
from tests.cluster.processes import wait_until
from tests.cluster.replicas import identical_replicas
from tests.cluster.rounds import MANY

if TYPE_CHECKING:
    from myqueue.contract.records import Record
    from tests.cluster.fault_cluster import FaultCluster


PAUSE_SECONDS = 0.005 if MANY else 0.02
"""Of a producer between two values: many are sent only where faults are repeated often."""
SOME_VALUES = 50 if MANY else 10
"""Of each producer, before and after a fault."""


@dataclass
class History:
    """What became of one producer's values."""

    name: str
    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Known not to be written."""
    unknown: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each acknowledgement came."""
    begun: list[float] = field(default_factory=list)
    """When each acknowledged value began to be sent."""


class Stream:
    """Producers that send one value after the other until the stream is closed."""

    def __init__(
        self,
        cluster: FaultCluster,
        topic: str,
        *,
        producers: int = 2,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.cluster = cluster
        self.topic = topic
        self.histories = [History(f"p{number}") for number in range(producers)]
        self.errors: list[BaseException] = []
        self._pause = pause_seconds
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce, args=(history,), daemon=True)
            for history in self.histories
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(180)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads)
            if self.errors:
                raise self.errors[0]

    @property
    def count(self) -> int:
        """Acknowledged values so far."""
        return sum(len(history.acknowledged) for history in self.histories)

    def wait_for_more(self, count: int = SOME_VALUES, seconds: float = 60) -> None:
        """Return when so many more values were acknowledged to each producer."""
        before = [len(history.acknowledged) for history in self.histories]

        def more() -> bool:
            assert not self.errors, self.errors
            pairs = zip(self.histories, before, strict=True)
            return all(len(history.acknowledged) >= start + count for history, start in pairs)

        wait_until(more, what=f"{count} more values", seconds=seconds)

    def acknowledged_within(self, since: float, until: float) -> int:
        """Return how many values began to be sent, and were acknowledged, within a time."""
        return sum(
            since <= begun and came <= until
            for history in self.histories
            for begun, came in zip(history.begun, history.times, strict=False)
        )

    def longest_gap(self, since: float, until: float) -> float:
        """Return the longest time without an acknowledgement to one producer, in seconds."""
        return max(self.gaps(since, until), default=0.0)

    def gaps(self, since: float, until: float) -> list[float]:
        """Return the times from one acknowledgement to the next to one producer, in seconds."""
        gaps: list[float] = []
        for history in self.histories:
            before = [moment for moment in history.times if moment < since][-1:]
            inside = [moment for moment in history.times if since <= moment <= until]
            times = [*before, *inside]
            gaps += [later - earlier for earlier, later in pairwise(times)]
        return gaps

    def _produce(self, history: History) -> None:
        number = 0
        try:
            with Producer(self.topic, self.cluster.manager.address) as producer:
                while not self._ended.is_set():
                    value = f"{history.name}|{number}"
                    number += 1
                    began = time.monotonic()
                    try:
                        producer.enqueue(self.topic, value)
                    except QueueError as error:
                        (history.refused if error.outcome_known else history.unknown).append(value)
                    else:
                        history.acknowledged.append(value)
                        history.begun.append(began)
                        history.times.append(time.monotonic())
                    time.sleep(self._pause)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)


def check_history(cluster: FaultCluster, stream: Stream, *, partitions: int = 1) -> dict[str, Any]:
    """Compare every replica, read from offset 0, with what the producers know.

    Every acknowledged value exactly once, none twice, none invented, no refused value there, each
    producer's order kept in each partition; the replicas byte-identical.
    """
    token = cluster.http.post(
        f"{cluster.manager.address}/consumer/register", json={"topic": stream.topic}, timeout=10
    ).json()["token"]
    stored: dict[int, list[Record]] = identical_replicas(cluster, stream.topic, partitions, token)
    values = [str(record.value) for records in stored.values() for record in records]
    assert len(values) == len(set(values)), "a value is there twice"
    there = set(values)
    sent: set[str] = set()
    for history in stream.histories:
        lost = set(history.acknowledged) - there
        assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
        written = there & set(history.refused)
        assert not written, f"refused and yet written: {sorted(written)[:5]}"
        sent |= {*history.acknowledged, *history.unknown}
        for records in stored.values():
            numbers = [
                int(str(record.value).split("|")[1])
                for record in records
                if str(record.value).startswith(f"{history.name}|")
            ]
            assert numbers == sorted(numbers), f"{history.name} is reordered"
    assert there <= sent, f"invented: {sorted(there - sent)[:5]}"
    return {
        "acknowledged": stream.count,
        "unknown": sum(len(history.unknown) for history in stream.histories),
        "refused": sum(len(history.refused) for history in stream.histories),
    }
