"""One partition while a member of a consumer group holds it: what was read, and what is done. Pure.

The messages of a partition are handed out in the order of their offsets, so a few offsets say all:

    committed <= finished <= handed <= fetched

Only what is below `finished` is ever committed: what was taken in advance, or is in the program's
hands, is read again by whoever gets the partition next.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from myqueue.transport.rotation import Silence

if TYPE_CHECKING:
    from myqueue.contract.errors import QueueError
    from myqueue.results import Message
    from myqueue.transport.effects import Pending
    from myqueue.transport.rotation import TopicPartition


class AssignedPartition:
    """A partition from its grant until it is given up or lost. Its owner holds a lock.

    Args:
        where: topic and partition.
        generation: the group's, when the partition was granted; commits name it for as long as it
            is held, so that they are refused once it has gone to somebody else.

    Attributes:
        started: True once older generations are fenced off and the start is known.
        is_revoked: True once the member was told to give it up; nothing more of it is handed out.
        abandoned: True when it is given up although the program has not committed what it has.
    """

    def __init__(self, where: TopicPartition, generation: int) -> None:
        self.where = where
        self.generation = generation
        self.started = False
        self.is_revoked = False
        self.abandoned = False
        self.committed = 0
        self.finished = 0
        """The program is done with everything below."""
        self.handed = 0
        """The program was given everything below."""
        self.fetched = 0
        """Everything below was read, or does not exist."""
        self.ready: deque[Message] = deque()
        """Read and not handed out."""
        self.ahead: Pending | None = None
        """The fetch whose answer is not there yet; only the flow with the reading lock uses it."""
        self.asked_offset = 0
        """Where it begins."""
        self.asked_s = 0.0
        """Monotonic time of the last one."""
        self.refill_due = False
        """True when an iteration had better look whether more can be fetched ahead."""
        self.failures = 0
        """How often in a row it could not be read."""
        self.retry_s = 0.0
        """Monotonic time before which a partition that failed is not asked again."""
        self.uncommitted_since_s: float | None = None
        """Monotonic time of the first commit in a row that failed."""
        self.silence: Silence | None = None
        """What is known of its failures in a row; None when it answered the last time."""

    @property
    def in_hand(self) -> bool:
        """True while the program has messages that it is not done with."""
        return self.handed > self.finished

    @property
    def to_commit(self) -> bool:
        """True when the program is done with more than the cluster knows."""
        return self.started and self.finished != self.committed

    @property
    def can_go(self) -> bool:
        """True when it can be given up: it was never read, or what is done is committed."""
        if not self.is_revoked or not self.started:
            return self.is_revoked
        return not self.to_commit and (self.abandoned or not self.in_hand)

    def failed(self, error: QueueError, now_s: float, *, stale_s: float) -> None:
        """Note that it did not answer.

        Args:
            error: what came instead.
            now_s: monotonic seconds.
            stale_s: a failure longer ago than this does not count: nobody asked in between.
        """
        known = self.silence
        is_new = known is None or now_s - known.last_s > stale_s
        since_s = now_s if known is None or is_new else known.since_s
        self.failures = max(1, self.failures)
        self.silence = Silence(error, self.retry_s, since_s, now_s)

    def answered(self) -> None:
        """Note that it answered."""
        self.failures = 0
        self.silence = None

    def start_at(self, offset: int) -> None:
        """Go on at an offset that the cluster knows as committed; forget what was read."""
        self.committed = self.finished = self.handed = self.fetched = offset
        self.ready.clear()
        self.started = True

    def adopt(self, messages: list[Message], next_offset: int, asked_offset: int) -> bool:
        """Put what was fetched behind what waits; ignore it when it is not what comes next.

        Args:
            messages: in the order of their offsets, none when there was nothing.
            next_offset: the one behind the last message, and behind what was stepped over.
            asked_offset: where the fetch began.

        Returns:
            False when it was ignored.
        """
        if asked_offset != self.fetched:
            return False
        self.ready += messages
        self.fetched = next_offset
        self._pass_gap()
        return True

    def skip_to(self, log_start_offset: int) -> int:
        """Go on behind what retention has deleted; return how many messages are missed."""
        missed = max(0, log_start_offset - self.fetched)
        self.fetched += missed
        self._pass_gap()
        return missed

    def _pass_gap(self) -> None:
        """Count what does not exist before the next message as handed out."""
        if not self.ready:
            if not self.in_hand:
                self.finished = self.fetched
            self.handed = self.fetched

    def take(self, max_messages: int) -> list[Message]:
        """Hand out up to so many messages."""
        ready = self.ready
        taken = [ready.popleft() for _ in range(min(max_messages, len(ready)))]
        if taken:
            self.handed = taken[-1].offset + 1
        return taken

    def take_one(self) -> Message:
        """Hand out the next message; there is one."""
        message = self.ready.popleft()
        self.handed = message.offset + 1
        return message

    def take_back(self, message: Message) -> None:
        """Undo the handing out of the last message."""
        assert message.offset + 1 == self.handed, "messages are taken back in reverse"
        self.ready.appendleft(message)
        self.handed = message.offset

    def finish(self) -> None:
        """Count everything that was handed out as done, and what was stepped over behind it."""
        if not self.ready:
            self.handed = self.fetched
        self.finished = self.handed
