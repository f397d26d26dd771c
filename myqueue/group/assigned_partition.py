"""One partition that a member of a consumer group owns: fetched, finished, committed. Pure.

Messages are handed out in the order of their offsets, so that four offsets hold the state:

    committed <= finished <= handed <= fetched

Only offsets up to `finished` are ever committed: messages that were prefetched, or that the program
still works on, are read again by the next owner of the partition.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from myqueue.transport.rotation import Silence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from myqueue.contract.errors import QueueError
    from myqueue.results import Message
    from myqueue.transport.effects import Pending
    from myqueue.transport.rotation import TopicPartition


class AssignedPartition:
    """A partition from its grant until it is given up or lost. Callers hold a lock.

    Args:
        where: topic and partition.
        generation: the group's, when the partition was granted; every commit carries it, so that
            commits are refused once the partition belongs to another member.

    Attributes:
        started: True once older generations are fenced off and the start is known.
        is_revoked: True once a manager asked for it back; no further message is handed out.
        abandoned: True when it is given up although handed out messages are not committed.
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
        self.ahead: OpenFetch | None = None
        """The fetch whose answer is not there yet; only the flow with the reading lock uses it."""
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
        """True while messages are handed out and not finished."""
        return self.handed > self.finished

    @property
    def to_commit(self) -> bool:
        """True when more is finished than committed."""
        return self.started and self.finished != self.committed

    @property
    def can_go(self) -> bool:
        """True when it can be given up: it was never read, or all that is finished is committed."""
        if not self.is_revoked or not self.started:
            return self.is_revoked
        return not self.to_commit and (self.abandoned or not self.in_hand)

    def failed(self, error: QueueError, now_s: float, *, asked_s: float, stale_s: float) -> None:
        """Note a failed request to it.

        Args:
            error: of the request.
            now_s: monotonic seconds.
            asked_s: monotonic seconds at which the request was sent; of one that a server held,
                when it ended.
            stale_s: earlier failures that are older do not count: nothing was asked in between.
        """
        known = self.silence
        is_new = known is None or now_s - known.last_s > stale_s
        since_s = now_s if known is None or is_new else known.since_s
        self.failures = max(1, self.failures)
        self.silence = Silence(
            error,
            self.retry_s,
            since_s,
            now_s,
            asked_s=asked_s if known is None else known.asked_s,
        )

    def answered(self) -> None:
        """Note an answered request to it."""
        self.failures = 0
        self.silence = None

    def start_at(self, offset: int) -> None:
        """Go on at a committed offset; drop what was fetched."""
        self.committed = self.finished = self.handed = self.fetched = offset
        self.ready.clear()
        self.started = True

    def adopt(self, messages: list[Message], next_offset: int, asked_offset: int) -> bool:
        """Append fetched messages to those that wait; ignore a fetch that does not follow them.

        Args:
            messages: in the order of their offsets, none when there was nothing.
            next_offset: the offset after the last message, and after corrupt ones behind it.
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
        """Go on at the log start; return how many messages retention deleted unread."""
        missed = max(0, log_start_offset - self.fetched)
        self.fetched += missed
        self._pass_gap()
        return missed

    def _pass_gap(self) -> None:
        """Count offsets without a message before the next one as handed out."""
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
        """Count everything that was handed out as finished, and corrupt messages behind it."""
        if not self.ready:
            self.handed = self.fetched
        self.finished = self.handed


class OpenFetch:
    """A fetch that is out; only the flow with the reading lock uses it.

    At a broker it is the one call of a member for all its partitions there.

    Args:
        address: of the broker, or of the manager that passes it on.
        pending: the call.
        asked: the partitions that it asks about, and where each begins.
        is_list: True for one that takes several partitions.
    """

    def __init__(
        self,
        address: str,
        pending: Pending,
        asked: Mapping[AssignedPartition, int],
        *,
        is_list: bool,
    ) -> None:
        self.address = address
        self.pending = pending
        self.asked = dict(asked)
        self.is_list = is_list
        for assigned in self.asked:
            assigned.ahead = self

    def leave(self, assigned: AssignedPartition) -> None:
        """Have nothing of a partition adopted; cancel the call when it was the last one."""
        del self.asked[assigned]
        assigned.ahead = None
        if not self.asked:
            self.pending.cancel()

    def end(self) -> dict[AssignedPartition, int]:
        """Let the partitions go that it asked about, and return them."""
        asked, self.asked = self.asked, {}
        for assigned in asked:
            assigned.ahead = None
        return asked
