"""Messages that go on all the time, through the library and through each manager, and the gaps."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests

from myqueue import Consumer, Producer
from tests.cluster.metadata_work import TOPIC
from tests.cluster.processes import wait_until
from tests.cluster.waited import GONE, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.cluster.several_managers import SeveralManagers

PAUSE_SECONDS = 0.05
SAMPLES_APART_SECONDS = 0.2
ANSWER_SECONDS = 10.0
STARTED_SECONDS = 60.0
READ_MAX = 100
GAP_SECONDS = 1.0
"""The longest time without a message through the library and any manager that lives."""
IN_A_GAP_MAX = 30
"""What another stream makes in a gap at most: they make fewer than 20 a second."""


class Stream:
    """One thread that repeats one thing, and the times at which it succeeded."""

    def __init__(self, name: str, step: Callable[[int], bool]) -> None:
        """Take what to repeat: it returns whether it succeeded, and is told how often it did."""
        self.name = name
        self.times_s: list[float] = []
        self.failures: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._step = step
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def _run(self) -> None:
        try:
            while not self._ends.wait(PAUSE_SECONDS):
                if self._step(len(self.times_s)):
                    self.times_s.append(time.monotonic())
        except BaseException as error:  # noqa: BLE001 - raised by `close`
            self.error = error

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join()
        if self.error is not None:
            raise AssertionError(f"{self.name} ended") from self.error

    def count(self, begun_s: float, end_s: float) -> int:
        """Return how often it succeeded between two times."""
        return sum(begun_s < one < end_s for one in self.times_s)

    def longest_gap(self, begun_s: float, end_s: float) -> tuple[float, float]:
        """Return begin and end of the longest time without a success that meets a time."""
        assert self.error is None, f"{self.name}: {self.error!r}"
        times_s = [*self.times_s, end_s]
        gaps = [(one, other) for one, other in pairwise(times_s) if other > begun_s and one < end_s]
        return max(gaps, key=lambda gap: gap[1] - gap[0], default=(begun_s, end_s))


def waited_s(pid: int) -> float:
    """Return how long the first thread of a process, its event loop's, waited for a processor."""
    with suppress(*GONE):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / NS_PER_S
    return 0.0


class SteadyTraffic:
    """A producer and a consumer of the library, and plain HTTP through each manager."""

    def __init__(self, cluster: SeveralManagers, name: str) -> None:
        """Begin with `with`; the topic is there.

        Args:
            cluster: whose.
            name: no other one's on this cluster: the messages are its own.
        """
        self.cluster = cluster
        self.name = name
        self.acknowledged: set[str] = set()
        self.read: Counter[str] = Counter()
        self.longest_s = 0.0
        """The longest gap that `gaps` found, waits for a processor included."""
        self._waited_s: dict[int, float] = {}
        self._samples: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        address = self.cluster.address
        producer = self._stack.enter_context(Producer(TOPIC, address))
        consumer = self._stack.enter_context(Consumer(TOPIC, address))

        def produce(number: int) -> bool:
            text = f"{self.name} library {number}"
            producer.enqueue(TOPIC, text)
            self.acknowledged.add(text)
            return True

        def consume(_: int) -> bool:
            found = consumer.poll(max_messages=READ_MAX, timeout=5)
            self.read.update(str(message.value) for message in found)
            return bool(found)

        self.library = [Stream("produce", produce), Stream("consume", consume)]
        self.passed = {one.address: self._through(one.address) for one in self.cluster.managers}
        self._sampler = Stream("samples", self._sample)
        for stream in (self._sampler, *self.library, *self.passed.values()):
            stream.start()
            self._stack.callback(stream.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _sample(self, _: int) -> bool:
        self._waited_s |= {pid: of for pid in self.cluster.pids if (of := waited_s(pid))}
        self._samples.append((time.monotonic(), sum(self._waited_s.values())))
        time.sleep(SAMPLES_APART_SECONDS)
        return True

    def _through(self, address: str) -> Stream:
        """Produce and pop through one manager, each call again until it is answered."""
        http = requests.Session()
        self._stack.callback(http.close)
        ids: dict[str, Any] = {}
        for kind in ("producer", "consumer"):
            answer = http.post(
                f"{address}/{kind}/register", json={"topic": TOPIC}, timeout=STARTED_SECONDS
            )
            ids[kind] = answer.json()[f"{kind}_id"]

        def call(path: str, **fields: object) -> bool:
            try:
                answer = http.post(
                    f"{address}{path}", json={"topic": TOPIC, **fields}, timeout=ANSWER_SECONDS
                )
            except requests.RequestException as error:
                stream.failures[type(error).__name__] += 1
                return False
            if answer.ok:
                return True
            assert answer.status_code >= 500, answer.text
            stream.failures[answer.json()["code"]] += 1
            return False

        def step(number: int) -> bool:
            text = f"{self.name} {address} {number}"
            if not call(
                "/producer/produce",
                producer_id=ids["producer"],
                message=text,
                request_id=text,
                partition=number % 2,
            ):
                return False
            self.acknowledged.add(text)
            return call(
                "/consumer/consume",
                consumer_id=ids["consumer"],
                max_messages=READ_MAX,
                request_id=text,
            )

        stream = Stream(address, step)
        return stream

    def wait_for_all(self) -> None:
        """Wait until every stream has gone on, also one whose manager was away."""
        since_s = time.monotonic()
        for one in (*self.library, *self.passed.values()):
            wait_until(
                lambda of=one: of.error or max(of.times_s, default=0) > since_s,
                what=f"{one.name} goes on",
                seconds=STARTED_SECONDS,
            )

    def require_no_gap(self, begun_s: float, *, through: Iterable[str]) -> None:
        """See that every stream went on since a time.

        Args:
            begun_s: monotonic time.
            through: addresses of the managers that count.

        Raises:
            AssertionError: one made a pause that is not the machine's: all processes together
                waited less for a processor, or another stream went on meanwhile.
        """
        end_s = time.monotonic()
        streams = [*self.library, *(self.passed[one] for one in through)]
        gaps = {one.name: one.longest_gap(begun_s, end_s) for one in streams}
        self.longest_s = max(self.longest_s, *(gap[1] - gap[0] for gap in gaps.values()))
        for name, gap in gaps.items():
            meanwhile = {one.name: one.count(*gap) for one in streams}
            told = f"{name} made a pause of {gap[1] - gap[0]:.2f} s; meanwhile {meanwhile}"
            assert self.own_seconds(*gap) <= GAP_SECONDS, told
            assert max(meanwhile.values()) <= IN_A_GAP_MAX, told

    def own_seconds(self, begun_s: float, end_s: float) -> float:
        """Return how long a time was, but for what the processes waited for a processor in it."""
        before = max((at for at in self._samples if at[0] <= begun_s), default=self._samples[0])
        after = min((at for at in self._samples if at[0] >= end_s), default=self._samples[-1])
        return end_s - begun_s - (after[1] - before[1])

    def check(self) -> int:
        """Read to the end: everything acknowledged once; return how many messages there are."""
        with Consumer(TOPIC, self.cluster.address) as consumer:
            found: Counter[str] = Counter()
            while messages := consumer.poll(max_messages=READ_MAX, timeout=0):
                found.update(str(message.value) for message in messages)
        assert not self.acknowledged - set(found), "acknowledged, and not there"
        assert max(found.values()) == 1, "stored twice"
        assert max(self.read.values()) == 1, "read twice"
        return len(found)
