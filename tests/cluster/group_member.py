"""A program that reads as a member of a group and writes down what it was handed and committed.

    python -m tests.cluster.group_member ADDRESS TOPIC GROUP SESSION_TIMEOUT_MS MESSAGES SEED FILE

It closes its consumer and opens another after at most MESSAGES, and ends cleanly on SIGTERM.
Lines of the file, with the machine's monotonic time in seconds: `H time partition offset value`
when it was handed a message, `C time partition offset` when everything below was committed,
`A time count` when the number of its partitions changed, `L time` when it was told of a partition
that it lost.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from myqueue import ClientConfig, Consumer
from myqueue.contract.errors import IllegalGeneration, QueueError

if TYPE_CHECKING:
    from myqueue.results import Message


class Reader:
    """The loop of the program."""

    def __init__(self, arguments: list[str]) -> None:
        self.address, self.topic, self.group, session_timeout_ms, messages, seed = arguments
        self.session_timeout_ms = int(session_timeout_ms)
        self.messages_max = int(messages)
        self.chance = random.Random(int(seed))
        self.out: IO[str]
        self.ending = False
        self.partitions = -1

    def end(self, *_: object) -> None:
        self.ending = True

    def run(self, out: IO[str]) -> None:
        self.out = out
        while not self.ending:
            try:
                consumer = self.open()
            except QueueError as error:
                if not error.retriable:
                    raise
                time.sleep(0.2)
                continue
            with consumer:
                self.read(consumer, self.chance.randrange(200, self.messages_max))

    def open(self) -> Consumer:
        config = ClientConfig(prefetch_messages=100, auto_commit_interval_ms=1_000)
        return Consumer(
            self.topic,
            self.address,
            group=self.group,
            session_timeout_ms=self.session_timeout_ms,
            config=config,
        )

    def read(self, consumer: Consumer, count: int) -> None:
        while count > 0 and not self.ending:
            messages = consumer.poll(self.chance.randrange(1, 100), timeout=0.3)
            partitions = len(consumer.assignment().get(self.topic, ()))
            if partitions != self.partitions:
                self.partitions = partitions
                self.write("A", partitions)
            for message in messages:
                self.write("H", message.partition, message.offset, message.text)
            count -= len(messages)
            if messages and self.chance.random() < 0.3:
                self.commit(consumer, messages[-1])

    def commit(self, consumer: Consumer, last: Message) -> None:
        try:
            consumer.commit()
        except IllegalGeneration:
            self.write("L")
        else:
            self.write("C", last.partition, last.offset + 1)

    def write(self, *fields: object) -> None:
        head, *rest = fields
        self.out.write(" ".join([str(head), f"{time.monotonic():.6f}", *map(str, rest)]) + "\n")


def main() -> None:
    reader = Reader(sys.argv[1:7])
    signal.signal(signal.SIGTERM, reader.end)
    # Who waits for the file knows that a signal is taken.
    with Path(sys.argv[7]).open("a", buffering=1) as out:
        reader.run(out)


if __name__ == "__main__":
    main()
