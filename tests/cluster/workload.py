"""Logs produced by several producers at once and read by independent consumers."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from myqueue import ClientConfig, Consumer, Producer
from myqueue.contract.errors import QueueError
from tests.cluster.processes import MANAGER_BACK_MS

LOGHUB = Path(__file__).resolve().parents[3] / "shared" / "data" / "loghub"
LINES = 2_000
"""Of one topic, at most."""
POLL_MESSAGES = 200


def log_lines(topics: list[str], count: int = LINES) -> dict[str, list[str]]:
    """Return the beginning of one log per topic: published ones where they are, else generated."""
    files = sorted(LOGHUB.glob("*.log"))[: len(topics)]
    if len(files) == len(topics):
        return {
            topic: file.read_bytes().decode("utf-8", "replace").split("\r\n")[:-1][:count]
            for topic, file in zip(topics, files, strict=True)
        }
    return {
        topic: [f"{topic} line {number} \u2713 '\"\x00" for number in range(count)]
        for topic in topics
    }


@dataclass
class Sent:
    """What one producer sent to one topic, in its order."""

    producer: str
    acknowledged: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By partition."""
    unknown: list[str] = field(default_factory=list)
    """Neither known to be written nor known not to be."""


class Workload:
    """Producers in threads; the test breaks things while they run."""

    def __init__(self, manager: str, lines: dict[str, list[str]], *, producers: int = 2) -> None:
        self.manager = manager
        self.sent: dict[str, list[Sent]] = {topic: [] for topic in lines}
        self.errors: list[BaseException] = []
        self.count = 0
        self._total = sum(len(of_topic) for of_topic in lines.values())
        self._counted = threading.Condition()
        self._threads = []
        for topic, of_topic in lines.items():
            for number in range(producers):
                sent = Sent(f"{topic}-{number}")
                self.sent[topic].append(sent)
                share = of_topic[number::producers]
                self._threads.append(
                    threading.Thread(target=self._produce, args=(topic, share, sent), daemon=True)
                )

    def start(self) -> None:
        """Let all producers run."""
        for thread in self._threads:
            thread.start()

    def wait_for_share(self, share: float) -> None:
        """Return when about this share of all lines was acknowledged."""
        with self._counted:
            reached = self._counted.wait_for(
                lambda: self.errors or self.count >= share * self._total, timeout=120
            )
        assert reached, f"only {self.count} of {self._total} lines went out"

    def join(self) -> None:
        """Return when all producers are done; raise what one of them met."""
        for thread in self._threads:
            thread.join(240)
            assert not thread.is_alive(), f"{thread.name} still produces"
        if self.errors:
            raise self.errors[0]

    def _produce(self, topic: str, lines: list[str], sent: Sent) -> None:
        try:
            config = ClientConfig(manager_timeout_ms=MANAGER_BACK_MS)
            with Producer(topic, self.manager, config=config) as producer:
                for number, line in enumerate(lines):
                    value = f"{sent.producer}|{number}|{line}"
                    try:
                        delivered = producer.enqueue(topic, value)
                    except QueueError as error:
                        if error.outcome_known:
                            raise
                        sent.unknown.append(value)
                    else:
                        sent.acknowledged[delivered.partition].append(value)
                    with self._counted:
                        self.count += 1
                        self._counted.notify_all()
        except BaseException as error:  # noqa: BLE001 - told to the test that joins
            self.errors.append(error)
            with self._counted:
                self._counted.notify_all()


def drain(manager: str, topic: str) -> dict[int, list[tuple[int, str]]]:
    """Read a topic to its end with a consumer of its own: (offset, text) by partition."""
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    with Consumer(topic, manager) as consumer:
        while messages := consumer.poll(max_messages=POLL_MESSAGES, timeout=0):
            for message in messages:
                found[message.partition].append((message.offset, message.text))
    return found


def check_delivery(sents: list[Sent], found: dict[int, list[tuple[int, str]]]) -> int:
    """Check a consumer's reading against what was sent; return the number of messages.

    Every acknowledged line exactly once, none invented, offsets contiguous from 0, each producer's
    order kept in each partition.
    """
    texts = [text for messages in found.values() for _, text in messages]
    assert len(texts) == len(set(texts)), "a line was read twice"
    acknowledged = {
        text
        for sent in sents
        for of_partition in sent.acknowledged.values()
        for text in of_partition
    }
    unknown = {text for sent in sents for text in sent.unknown}
    assert acknowledged <= set(texts), f"lost: {sorted(acknowledged - set(texts))[:5]}"
    invented = set(texts) - acknowledged - unknown
    assert not invented, f"invented: {sorted(invented)[:5]}"
    for partition, messages in found.items():
        assert [offset for offset, _ in messages] == list(range(len(messages)))
        for sent in sents:
            mine = [text for _, text in messages if text.startswith(f"{sent.producer}|")]
            numbers = [int(text.split("|")[1]) for text in mine]
            assert numbers == sorted(numbers), f"{sent.producer} reordered in {partition}"
            kept = set(sent.acknowledged.get(partition, ()))
            assert kept <= set(mine), f"{sent.producer} has lines in another partition"
    return len(texts)
