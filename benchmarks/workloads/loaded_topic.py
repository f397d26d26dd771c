"""A topic full of messages for the workloads that read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed
from benchmarks.site import message

if TYPE_CHECKING:
    from benchmarks.site import Site

BATCH_MESSAGES = 1_000


class LoadedTopic:
    """A topic of one partition that holds known messages and gets no more.

    Attributes:
        name: of the topic.
        values: the messages; the position is the offset.
    """

    def __init__(self, site: Site, workload: str, count: int) -> None:
        """Create it and fill it with `count` messages.

        Raises:
            CheckFailed: a batch went elsewhere than behind the one before.
        """
        self.name = site.new_topic(workload)
        self.values = [message(number) for number in range(count)]
        with site.producer(self.name) as producer:
            for start in range(0, count, BATCH_MESSAGES):
                batch = self.values[start : start + BATCH_MESSAGES]
                delivered = producer.produce_many(self.name, batch, partition=0)[0]
                if delivered.base_offset != start:
                    raise CheckFailed(f"offset {delivered.base_offset} was given to {start}")
