"""A topic full of messages for the workloads that read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.acknowledged import CheckFailed
from benchmarks.message import message

if TYPE_CHECKING:
    from benchmarks.peers.session import Sender, Session

BATCH_MESSAGES = 1_000


class LoadedTopic:
    """A topic of one partition that holds known messages and gets no more.

    Attributes:
        name: of the topic.
        values: the messages; the position is the offset.
    """

    def __init__(self, session: Session, workload: str, count: int) -> None:
        """Create it and fill it with `count` messages.

        Raises:
            CheckFailed: a batch went elsewhere than behind the one before.
        """
        self.name = session.new_topic(workload)
        self.values = [message(number) for number in range(count)]
        with closing(session.sender(self.name)) as sender:
            session.run(self._fill(sender))

    async def _fill(self, sender: Sender) -> None:
        for start in range(0, len(self.values), BATCH_MESSAGES):
            offset = await sender.send_batch(self.values[start : start + BATCH_MESSAGES])
            if offset not in {start, None}:
                raise CheckFailed(f"offset {offset} was given to {start}")
